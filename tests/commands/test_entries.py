"""``entries`` and ``show``: what a storage holds, read as data and printed so that nothing in it moves a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from commands.conftest import STORAGE, Ran
from support import small_app

from recallm import InMemoryStorage, StorageBackend
from recallm.testing import StorageContract

Run = Callable[..., Ran]


def put(prompt: str, namespace: str = "n", ttl: float | None = None, **fields: Any) -> str:
    """Store an entry and return its key."""
    payload = fields.pop("payload", b"\x01syes")
    entry = StorageContract.entry(prompt, namespace=namespace, **fields)._replace(payload=payload)
    epoch = small_app.storage.recall(namespace, entry.key).epoch
    assert small_app.storage.put(entry, epoch, ttl).kept
    return entry.key


def test_namespaces_are_listed_with_counts_and_sizes(run: Run) -> None:
    """Without a namespace, each is a line: its entries, their size, its name."""
    put("one")
    put("two")
    put("three", "other")
    ran = run("entries", STORAGE)
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()] == [
        ["ENTRIES", "SIZE", "NAMESPACE"],
        ["2", "144", "B", "n"],
        ["1", "74", "B", "other"],
    ]
    assert run("entries", STORAGE, "--json").json[0] == {
        "namespace": "n", "entries": 2, "bytes": 144, "exact": True, "readable": True,
    }  # fmt: skip


def test_the_largest_namespaces_are_listed_first(run: Run) -> None:
    """Of many namespaces the largest are listed, and how much the others hold is told."""
    for number in range(4):
        for place in range(number + 1):
            put(f"prompt {place}", f"n{number}")
    ran = run("entries", STORAGE, "--limit", "2")
    assert [line.split()[-1] for line in ran.out.splitlines()[1:]] == ["n3", "n2"]
    assert ran.err == "recallm: and 2 smaller namespaces with 3 entries; --limit 0 lists all\n"
    assert len(run("entries", STORAGE, "--limit", "0", "--json").json) == 4


def test_a_large_namespace_is_estimated(run: Run) -> None:
    """The size of many entries is that of a sample, and marked so."""
    for number in range(300):
        put(f"prompt {number:04}")
    ran = run("entries", STORAGE)
    assert "300  ~24.0 kB  n" in ran.out


def test_the_entries_of_a_namespace_are_listed(run: Run) -> None:
    """A namespace's entries are lines with key, age, expiry, size and prompt, as many as are wanted."""
    key = put("first question", ttl=90.0)
    small_app.clock.advance(30)
    put("second question")
    ran = run("entries", STORAGE, "n")
    assert ran.out.splitlines()[1].split() == [key[:12], "30", "s", "1", "min", "83", "B", "first", "question"]
    assert "never" in ran.out.splitlines()[2]
    limited = run("entries", STORAGE, "n", "--limit", "1", "--newest")
    assert "second question" in limited.out
    assert "first question" not in limited.out
    assert limited.err == "recallm: the first 1 of them; --limit 0 lists all\n"
    assert len(run("entries", STORAGE, "n", "--limit", "0", "--json").json) == 2
    assert [row["prompt"] for row in run("entries", STORAGE, "n", "--contains", "FIRST", "--json").json] == [
        "first question"
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "the storage holds no entries"),
        (("absent",), "there is no entry in namespace 'absent'"),
    ],
)
def test_an_empty_list_is_told(run: Run, words: tuple[str, ...], told: str) -> None:
    """If there is nothing to list, that is told beside the output, and the exit code is 1."""
    assert run("entries", STORAGE, *words) == Ran(1, "", f"recallm: {told}\n")


def test_a_search_without_a_find_is_told(run: Run) -> None:
    """If no prompt contains the text, that is told."""
    put("one")
    assert run("entries", STORAGE, "n", "--contains", "x").err == ("recallm: no prompt of the 1 entries contains 'x'\n")


def test_nothing_in_an_entry_moves_the_terminal(run: Run) -> None:
    """Control characters of prompts and responses are shown, not sent."""
    key = put("red \x1b[31m and\nback\x07", payload=b"\x01sline\n\x1b]0;title\x07")
    for ran in (run("entries", STORAGE, "n"), run("show", STORAGE, key)):
        assert "\x1b" not in ran.out
        assert "\x07" not in ran.out
        assert "red \\x1b[31m and back\\x07" in ran.out
    assert "line\n\\x1b]0;title\\x07" in ran.out


def test_an_entry_is_shown_whole(run: Run) -> None:
    """``show`` prints all that is known of an entry, found by its key or the beginning of it."""
    key = put("hello", ttl=50.0, seconds=1.5, tokens=7, fresh_for=20.0)
    small_app.clock.advance(10)
    ran = run("show", STORAGE, key)
    shown = dict(line.split("  ", 1) for line in ran.out.splitlines() if "  " in line)
    assert {name.strip(): value.strip() for name, value in shown.items()} == {
        "key": key, "namespace": "n", "partition": "p", "age": "10 s", "expires": "in 40 s", "fresh for": "20 s",
        "took": "1 s", "tokens": "7", "vector": "16 dimensions", "prompt": "hello", "response": "text, 5 B",
    }  # fmt: skip
    assert ran.out.endswith("\n\nyes\n")
    for beginning in (key[:6], key[:20]):
        found = run("show", STORAGE, beginning, "--namespace", "n", "--json").json
        assert (found["response"], found["kind"], found["expires_in"]) == ("yes", "text", 40.0)


def test_a_response_is_shown_as_data(run: Run) -> None:
    """A response of a class is shown as what is stored: the class need not be there, and is not imported."""
    typed = small_app.typed("a question of some words")
    assert typed.pages == (1, 2)
    (candidate,) = small_app.storage.entries("support.small_app.typed")
    shown = run("show", STORAGE, candidate.entry.key, "--json").json["response"]
    path, fields = shown["$o"]
    assert path.endswith("small_app.Answer")
    assert fields == {"text": "a question of some words", "pages": {"$t": [1, 2]}}
    hostile = put("evil", payload=b'\x01t{"$o":["os.system",{"command":"exit 7"}]}')
    assert run("show", STORAGE, hostile, "--json").json["response"] == {"$o": ["os.system", {"command": "exit 7"}]}


@pytest.mark.parametrize(
    ("payload", "kind", "response"),
    [
        (b'\x01j{"a":[1,null]}', "JSON", {"a": [1, None]}),
        (b"\x01b\x00\xff", "bytes", "AP8="),
        (b"\x01t{", "unreadable", "AXR7"),
        (b"\x01s\xff", "unreadable", "AXP/"),
        (b"\x07", "unreadable", "Bw=="),
        (b"", "unreadable", ""),
    ],
)
def test_every_kind_of_payload_is_shown(run: Run, payload: bytes, kind: str, response: object) -> None:
    """Text, bytes and JSON are shown as such, and what cannot be read as base64."""
    shown = run("show", STORAGE, put("hello", payload=payload), "--json").json
    assert (shown["kind"], shown["response"]) == (kind, response)


def test_what_keeps_a_prompt_from_a_wrong_answer_says_so(run: Run) -> None:
    """What `wrong` stores holds neither prompt nor answer, and is listed and shown as what it is."""
    small_app.answer("where is my parcel")
    assert small_app.answer.wrong("where is my parcel")
    namespace = "support.small_app.answer"
    (row,) = run("entries", STORAGE, namespace, "--json").json
    assert row["is_refusal"]
    assert "(no answer: keeps a prompt from a wrong one, see wrong())" in run("entries", STORAGE, namespace).out
    shown = run("show", STORAGE, row["key"])
    assert (shown.code, shown.out.splitlines()[-1]) == (
        0,
        "This prompt was served a wrong answer (see wrong()): its own calls alone answer it.",
    )


def test_a_key_that_is_not_there_or_not_clear_is_told(run: Run) -> None:
    """An unknown key gives 1; one that several entries have, or that is too short, is an error."""
    assert run("show", STORAGE, "0" * 40) == Ran(
        1, "", f"recallm: there is no entry with a key that begins with '{'0' * 40}'\n"
    )
    assert run("show", STORAGE, "0").code == 2
    for prompt in ("one", "two"):
        entry = StorageContract.entry(prompt)._replace(key="abcdef" + prompt)
        small_app.storage.put(entry, small_app.storage.recall("n", entry.key).epoch, None)
    ran = run("show", STORAGE, "abcdef")
    assert (ran.code, ran.out) == (2, "")
    assert "several keys begin with 'abcdef'" in ran.err


class Unlisted(InMemoryStorage):
    """A storage of somebody's that was written before there was a listing."""

    namespaces = StorageBackend.namespaces


def test_a_storage_that_lists_nothing_says_what_is_lacking(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that does not implement the listing gives an error that says what to implement."""
    monkeypatch.setattr(small_app, "unlisted", Unlisted(), raising=False)
    ran = run("entries", "support.small_app:unlisted")
    told = "recallm: error: Unlisted cannot list its namespaces: implement namespaces()\n"
    assert ran == Ran(2, "", told)


def test_json_is_printed_so_that_nothing_in_it_moves_a_terminal(run: Run) -> None:
    """What a terminal would obey, and what no output can show, is escaped in JSON; it reads as what was stored."""
    prompt = "\x9b31m \u202eh\ud800i \U000e0001 été 猫\n"
    entry = StorageContract.entry("one")._replace(prompt=prompt)
    assert small_app.storage.put(entry, small_app.storage.recall("n", entry.key).epoch, None).kept
    key = entry.key
    for command in (("entries", STORAGE, "n", "--json"), ("show", STORAGE, key, "--json")):
        ran = run(*command)
        assert ran.code == 0
        found = ran.json
        assert (found[0] if isinstance(found, list) else found)["prompt"] == prompt
        assert all(each.isprintable() or each == "\n" for each in ran.out)
        assert "été 猫" in ran.out
