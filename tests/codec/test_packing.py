"""Payloads packed: what comes back, what is not packed, and what a poisoned one may ask for."""

from __future__ import annotations

import os
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.responses import assert_corrupt, same

from recallm.codec.codec import SLOW_BYTES, Codec, is_slow
from recallm.codec.packing import MAX_PACKED_BYTES, PACKED, PACKED_FROM_BYTES, pack, unpack, unpacked_size

WORDS = "refund card order address plan phone login renew invoice payment within thirty days of delivery".split()


def prose(size: int) -> str:
    """Return a text of so many characters that is as easy to compress as others are."""
    chance = random.Random(size)  # noqa: S311
    return " ".join(f"{chance.choice(WORDS)}{chance.randrange(99)}" for _ in range(size))[:size]


@pytest.mark.parametrize(
    "response",
    [
        prose(5000),
        prose(5000).encode(),
        [prose(50)] * 200,
        {"text": prose(9000), "of": (1, 2)},
        "ä\ud800" + prose(5000),
    ],
    ids=["text", "bytes", "json", "tagged", "surrogates"],
)
def test_what_is_packed_comes_back(response: object) -> None:
    """A packed answer of each kind is smaller, and is decoded into what it was; so is one that was stored unpacked."""
    codec = Codec()
    packed = codec.encode(response)
    plain = unpack(packed)
    assert packed[:2] == PACKED
    assert len(packed) < 0.6 * len(plain)
    assert (unpacked_size(packed), pack(plain)) == (len(plain) - 2, packed)
    assert same(codec.decode(packed), response)
    assert same(codec.decode(plain), response)


@given(st.binary(max_size=3000), st.integers(1, 40))
def test_whatever_is_packed_is_unpacked(body: bytes, times: int) -> None:
    """Any payload comes back as it was, packed or not."""
    payload = b"\x01b" + body * times
    packed = pack(payload)
    assert packed == payload or unpack(packed) == payload


def test_what_would_not_shrink_is_left() -> None:
    """What compression does not help is stored as it is."""
    noise = b"\x01b" + os.urandom(20_000)
    assert pack(noise) == noise


@pytest.mark.parametrize(
    ("size", "is_packed"),
    [
        (PACKED_FROM_BYTES - 1, False),
        (PACKED_FROM_BYTES, True),
        (MAX_PACKED_BYTES, True),
        (MAX_PACKED_BYTES + 1, False),
    ],
)
def test_payloads_of_some_sizes_are_packed(size: int, is_packed: bool) -> None:
    """Payloads from a size on, and up to another, are packed: short ones are read too often, long ones too slowly."""
    payload = Codec().encode(prose(size - 2))
    assert (payload[:2] == PACKED) == is_packed


def packed_as(size: int, stream: bytes, kind: bytes = b"s") -> bytes:
    """Return a payload as whoever can write to a storage may write it."""
    return PACKED + kind + size.to_bytes(4, "big") + stream


STREAM = zlib.compress(b"text " * 20)


@pytest.mark.parametrize(
    "payload",
    [
        PACKED,
        PACKED + b"s\x00",
        packed_as(100, b""),
        packed_as(100, STREAM[:-1]),
        packed_as(99, STREAM),
        packed_as(101, STREAM),
        packed_as(100, STREAM + b"more"),
        packed_as(100, b"no stream at all, but long enough"),
        packed_as(100, STREAM, b"z"),
        packed_as(100, STREAM, b"j"),
        packed_as(100, STREAM, b"?"),
        packed_as(2**32 - 1, STREAM),
        packed_as(len(STREAM), zlib.compress(b"x" * len(STREAM), 0)),
        packed_as(MAX_PACKED_BYTES + 1, zlib.compress(bytes(MAX_PACKED_BYTES + 1))),
    ],
)
def test_a_changed_payload_is_corrupt(payload: bytes) -> None:
    """One that is cut off, continued, says another size or kind, or is packed twice, is a miss like any corrupt one."""
    assert_corrupt(payload)


@pytest.mark.parametrize("says", [1000, MAX_PACKED_BYTES, 100_000_000, 2**32 - 1])
def test_a_bomb_takes_no_more_memory_than_it_may(says: int) -> None:
    """A small stream that would become 100 MB is given up at the size that it says, which is bounded."""
    bomb = packed_as(says, zlib.compress(bytes(100_000_000), 9))
    tracemalloc.start()
    try:
        assert_corrupt(bomb)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_PACKED_BYTES + len(bomb) + 500_000
    finally:
        tracemalloc.stop()


def test_many_empty_blocks_are_not_read() -> None:
    """A stream of megabytes that become nothing is refused by its length."""
    assert_corrupt(packed_as(0, b"\x78\x01" + b"\x00\x00\x00\xff\xff" * 1_000_000 + b"\x03\x00" + bytes([0, 0, 0, 1])))


def test_what_is_slow_is_told_by_what_it_becomes() -> None:
    """Packed JSON is slow to decode by the size that it has unpacked; texts that are packed never are."""
    codec = Codec()
    lists = [codec.encode([prose(size)]) for size in (SLOW_BYTES - 4, SLOW_BYTES - 3)]
    text = codec.encode(prose(MAX_PACKED_BYTES - 2))
    assert all(payload[:2] == PACKED for payload in (*lists, text))
    assert [is_slow(payload) for payload in (*lists, text)] == [False, True, False]
