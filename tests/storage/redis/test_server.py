"""The state that a process keeps about a Redis server: the ids that it gives to versions of entries."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from recallm.storage.redis.server import ServerState


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
