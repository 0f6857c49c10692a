"""Entries are encoded as fields of bytes, and nothing that is decoded is believed unchecked."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.interrupting import each_point
from support.redis_storages import make

from recallm.errors import InvalidValueError
from recallm.records import Entry
from recallm.storage.entry_format import FIELDS, EntryFormat, namespace_in
from recallm.storage.redis.keys import EntryVersion

SECRET = b"0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000_000
GENERATION = "00" * 8


def encoded(entry_format: EntryFormat, entry: Entry, *, expires_ms: int | None = None) -> list[Any]:
    """Return the fields of an entry, as a server returns them."""
    version = EntryVersion(b"i" * 12, b"k" * 16, b"p" * 16)
    fields = entry_format.encode(entry, version.pack(), GENERATION, NOW, expires_ms)
    return [fields.get(name) for name in FIELDS]


def format_of(secret: bytes | None = None, **options: Any) -> EntryFormat:
    """Return a format."""
    return EntryFormat(secret, options.get("encrypt"), options.get("decrypt"), options.get("max_bytes", 1 << 20))


@given(st.text(), st.binary(), st.floats(0, 1e9), st.integers(0, 1 << 62), st.floats(0, 1e9))
def test_an_entry_comes_back_as_it_was(prompt: str, payload: bytes, seconds: float, tokens: int, cost: float) -> None:
    """Decoding an encoded entry gives the same entry, signed or not."""
    entry = Entry("key", "n", "p", prompt, None, payload, seconds, tokens, cost=cost)
    for each in (format_of(), format_of(SECRET)):
        stored = each.decode(encoded(each, entry), "n", GENERATION, NOW)
        assert stored is not None
        assert stored.entry == entry


class DeadlineError(Exception):
    """What a signal handler raises when time is up."""


def test_what_a_signal_handler_raises_while_an_entry_is_read_passes() -> None:
    """A deadline that strikes anywhere in reading an entry is not taken for bytes that cannot be read."""
    values = encoded(format_of(SECRET), make())

    def handler(*_: object) -> None:
        raise DeadlineError

    def work() -> None:
        with suppress(DeadlineError):
            read.append((format_of(SECRET).decode(values, "n", GENERATION, NOW), namespace_in(values[1])))

    read: list[Any] = []
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        struck = [where for where, _ in each_point(lambda: work, ("storage/entry_format",), strike)]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(struck) > 10
    assert len(read) == 1  # after the last point


def strike(*_: object) -> None:
    """Have a signal arrive."""
    signal.raise_signal(signal.SIGUSR1)


def test_an_entry_is_dead_when_it_expires() -> None:
    """An entry expires to the millisecond, by the server's clock."""
    values = encoded(format_of(), make(), expires_ms=NOW + 10)
    assert format_of().decode(values, "n", GENERATION, NOW + 9) is not None
    assert format_of().decode(values, "n", GENERATION, NOW + 10) is None


@given(st.data())
def test_a_signed_entry_cannot_be_altered(data: st.DataObject) -> None:
    """A signed entry is refused if a byte of any field changed or moved to the next field."""
    values = encoded(format_of(SECRET), make())
    at = data.draw(st.integers(0, len(values) - 1))
    place = data.draw(st.integers(0, len(values[at]) - 1))
    flipped = bytes([values[at][place] ^ data.draw(st.integers(1, 255))])
    values[at] = values[at][:place] + flipped + values[at][place + 1 :]
    assert format_of(SECRET).decode(values, "n", GENERATION, NOW) is None


@given(st.lists(st.none() | st.binary() | st.integers(), min_size=len(FIELDS), max_size=len(FIELDS)))
def test_any_fields_at_all_do_no_harm(values: list[Any]) -> None:
    """Decoding any fields gives an entry or None, never an exception."""
    assert format_of().decode(values, "n", GENERATION, NOW) is None


def test_another_secret_reads_nothing() -> None:
    """With a secret, entries that are not signed or signed with another secret are ignored."""
    theirs = format_of(b"another secret, 24 bytes")
    for other in (format_of(), theirs):
        assert format_of(SECRET).decode(encoded(other, make()), "n", GENERATION, NOW) is None


def test_an_entry_too_large_to_be_read_is_not_written() -> None:
    """Storing an entry that is too large raises an error that says what is allowed and shows no content."""
    with pytest.raises(InvalidValueError, match="max_bytes") as raised:
        encoded(format_of(max_bytes=10), make("a prompt that is too long"))
    assert "prompt that" not in str(raised.value)


def test_the_secret_is_not_shown() -> None:
    """The repr of a format, which a traceback's locals may show, leaves the secret out."""
    assert SECRET.decode() not in repr(format_of(SECRET))


@pytest.mark.parametrize("secret", [None, SECRET])
def test_an_entry_without_a_cost_is_written_as_it_was_before_there_were_costs(secret: bytes | None) -> None:
    """Versions before and after read each other's entries, as long as no price is set."""
    values = encoded(format_of(secret), make())
    facts = json.loads(values[1])
    assert facts[8:] == ["n", "p", make().key]
    stored = format_of(secret).decode(values, "n", GENERATION, NOW)
    assert stored is not None
    assert stored.entry.cost == 0.0


@pytest.mark.parametrize("facts", [[0.5, 0.5], ["0.5"], [True], [None], [1e400], [[]]])
def test_a_cost_that_is_none_is_not_believed(facts: list[Any]) -> None:
    """An entry with anything else where its cost stands is ignored."""
    values = encoded(format_of(), make(cost=0.5))
    plain = json.loads(values[1])
    assert plain[-1] == 0.5
    assert namespace_in(values[1]) == "n"
    values[1] = json.dumps(plain[:-1] + facts).encode()
    assert format_of().decode(values, "n", GENERATION, NOW) is None
