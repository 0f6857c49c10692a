"""Positions of keys are found through any history of additions, moves and removals."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from recallm.storage.index.positions import Positions


def add(positions: Positions, keys: list[str], key: str) -> None:
    """Append a key."""
    keys.append(key)
    positions.add(len(keys) - 1)


def remove(positions: Positions, keys: list[str], hole: int) -> None:
    """Take a key out; the last one takes its place."""
    last = len(keys) - 1
    positions.drop(hole)
    if hole != last:
        positions.move(last, hole)
        keys[hole] = keys[last]
    keys.pop()


@examples(0.5)
@given(st.lists(st.integers(-200, 400), max_size=300))
def test_a_key_is_found_where_it_stands(steps: list[int]) -> None:
    """Numbers are names to add, negative ones places to remove from; all that is there is found, and nothing else."""
    keys: list[str] = []
    positions = Positions(keys)
    for step in steps:
        if step >= 0 and positions.find(str(step)) is None:
            add(positions, keys, str(step))
        elif step < 0 and keys:
            remove(positions, keys, step % len(keys))
    assert [positions.find(key) for key in keys] == list(range(len(keys)))
    assert all(positions.find(str(name)) is None for name in range(400) if str(name) not in keys)
    positions.renew()
    assert [positions.find(key) for key in keys] == list(range(len(keys)))


def test_many_keys_take_little_memory_and_give_it_back() -> None:
    """A key takes less than 30 bytes beside itself, and nothing once it is gone."""
    names = [f"key {number}" for number in range(10_000)]
    keys = list(names)
    tracemalloc.start()
    positions = Positions(keys)
    positions.renew()
    full = tracemalloc.get_traced_memory()[0]
    assert all(positions.find(name) == number for number, name in enumerate(names))
    while keys:
        remove(positions, keys, len(keys) // 2)
    empty = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert full < 30 * len(names)
    assert empty < 5_000
