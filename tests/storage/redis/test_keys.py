"""The bytes that stand for an entry in a Redis server's indexes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recallm.storage.redis.keys import EntryVersion


@given(st.binary(max_size=120))
def test_a_version_is_read_only_from_what_packs_to_the_same(packed: bytes) -> None:
    """A version is unpacked only from bytes that it packs to; any others are no version."""
    version = EntryVersion.unpack(packed)
    assert version is None or version.pack() == packed
