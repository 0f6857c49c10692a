"""What a process knows of a Redis server: its layout, its epochs, and the ids of new versions of entries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.redis_servers import COMMANDS, LAYOUTS, WANTED, running

from recallm.storage.redis.server import Epoch, ServerState
from recallm.storage.redis.storage import RedisStorage


def state_at(seconds: Iterator[float]) -> ServerState:
    """Return the state of a server whose clock shows these seconds."""
    return ServerState("recallm", {}, chosen=None, clock=lambda: next(seconds))


@given(st.lists(st.floats(0, 4e9), min_size=2, max_size=50))
def test_ids_sort_in_the_order_in_which_they_were_made(seconds: list[float]) -> None:
    """Ids of one process are 12 bytes that strictly increase, also if the clock stands still or goes back."""
    state = state_at(iter(seconds))
    ids = [state.new_id() for _ in seconds]
    assert ids == sorted(set(ids))
    assert {len(each) for each in ids} == {12}


@given(st.floats(0, 4e9))
def test_an_id_begins_with_the_millisecond_of_its_making(seconds: float) -> None:
    """Ids of several processes, and stored ids that end in six random bytes, sort together by age."""
    assert state_at(iter([seconds])).new_id()[:6] == int(seconds * 1000).to_bytes(6)


def test_processes_make_different_ids_at_the_same_time() -> None:
    """Two processes that read the same time do not make the same id."""
    assert state_at(iter([5.0])).new_id() != state_at(iter([5.0])).new_id()


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63))
def test_an_epoch_is_a_number_and_back(generation: int, removals: int) -> None:
    """Converting an epoch to a number or to bytes and back gives the same epoch."""
    epoch = Epoch(f"{generation:016x}", removals)
    assert Epoch.of_number(epoch.number) == epoch
    assert Epoch.parse([epoch.generation.encode(), str(removals).encode()]) == epoch


@pytest.mark.redis
@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_layout_is_found_by_trying(kind: str) -> None:
    """The layout is vector sets if allowed, else the query engine, else the mirror."""
    if kind not in COMMANDS:
        pytest.skip(WANTED[kind])
    with running(kind) as server:
        storage = RedisStorage.from_url(server.url)
        storage.recall("n", "key")
        assert storage.layout is not None
        assert storage.layout.name == ("vectorset" if kind == "search" else LAYOUTS[kind])
        if kind == "search":
            with server.client() as client:
                client.acl_setuser("dave", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-vcard"])
            storage = RedisStorage.from_url(f"redis://dave:pw@127.0.0.1:{server.port}/0")
            storage.recall("n", "key")
            assert storage.layout is not None
            assert storage.layout.name == "search"
