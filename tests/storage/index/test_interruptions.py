"""A vector index stays exact when its operations are cut short, or meet others of the same thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.exact_search import assert_bounds_are_in_use, assert_exact, brute, small_sizes
from support.interrupting import each_point
from support.unit_rows import clustered_rows

from recallm.errors import BusyError
from recallm.storage.index import scan
from recallm.storage.index.vector_index import VectorIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = dict[str, NDArray[np.float32]]

DIM = 48
INDEX = ("storage/index",)
ROWS = clustered_rows(np.random.default_rng(5), 60, DIM)
FRESH = clustered_rows(np.random.default_rng(6), 4, DIM)

SIZES: dict[str, tuple[int, dict[str, int]]] = {
    "an empty index": (0, {}),
    "a row": (1, {}),
    "full room": (8, {}),
    "more room than rows": (5, {}),
    "full blocks": (32, {"_PIECE_ROWS": 16, "_BLOCK_PIECES": 1}),
    "bounds": (48, {"_PIECE_ROWS": 16, "_BLOCK_PIECES": 1, "_LEARN_ROWS": 33, "_LEARN_ELEMENTS": 1}),
    "rows that are being learnt from": (
        33,
        {"_PIECE_ROWS": 16, "_BLOCK_PIECES": 2, "_LEARN_ROWS": 33, "_LEARN_ELEMENTS": 1},
    ),
}
"""How many rows there are, and the sizes of the index's parts."""


class Changed:
    """An index before a change, and what may be in it after the change.

    Args:
        count: how many rows there are at the beginning.
        change: the change.
        learnt: whether axes are learnt before.
    """

    def __init__(self, count: int, change: Callable[[VectorIndex], object], *, learnt: bool) -> None:
        self.index = VectorIndex(DIM)
        self.rows: Rows = {f"{number}": row for number, row in enumerate(ROWS[:count])}
        for key, row in self.rows.items():
            self.index.put(key, row)
        for _ in range(60 if learnt else 0):
            self.index.put("0", ROWS[0])
        if learnt:
            assert_bounds_are_in_use(self.index)
        self.change = change
        self.refused = False

    def __call__(self) -> None:
        """Change the index."""
        self.change(self.index)


CHANGES: dict[str, tuple[Callable[[VectorIndex], object], str, Any]] = {
    "a new row": (lambda index: index.put("new", FRESH[0]), "new", FRESH[0]),
    "a row again": (lambda index: index.put("0", FRESH[0]), "0", FRESH[0]),
    "a removal": (lambda index: index.discard("0"), "0", None),
    "a search": (lambda index: index.search(FRESH[0], 0.2, limit=3), "none", None),
}
"""What is done, the row that it changes, and what that row is then."""


def assert_sound(index: VectorIndex, choices: list[Rows]) -> None:
    """The index holds one of these sets of rows, and takes, finds and loses rows as it should."""
    rows = dict(next(rows for rows in choices if len(rows) == len(index) and _are_held(index, rows)))
    for number, row in enumerate(FRESH):
        index.put(f"later {number}", row)
        rows[f"later {number}"] = row
    _assert_exact(index, rows)
    for key in list(rows):
        assert index.discard(key)
        del rows[key]
        if len(rows) % 16 == 1:
            _assert_exact(index, rows)
    assert len(index) == 0
    assert not index.discard("0")
    assert index.search(FRESH[0], -1.0) == []


def _are_held(index: VectorIndex, rows: Rows) -> bool:
    found = dict(index.search(FRESH[1], -1.0, limit=None))
    return set(found) == set(rows) and all(
        abs(found[key] - float(row.astype(float) @ FRESH[1].astype(float))) < 1e-9 for key, row in rows.items()
    )


def _assert_exact(index: VectorIndex, rows: Rows) -> None:
    for threshold, limit in ((-1.0, 100), (0.7, 5)):
        assert_exact(index.search(FRESH[0], threshold, limit=limit), brute(rows, FRESH[0]), threshold, limit)


def after(rows: Rows, key: str, row: Any) -> Rows:
    """Return the rows after a change."""
    changed = {known: each for known, each in rows.items() if known != key}
    return changed if row is None else {**changed, key: row}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_cut_short_has_happened_or_has_not(
    size: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever an exception comes, the index holds what it held or what it was to hold."""
    count, sizes = SIZES[size]
    act, key, row = CHANGES[change]

    def begun() -> Changed:
        return Changed(count, act, learnt=size == "bounds")

    with small_sizes(**sizes):
        monkeypatch.setattr(scan, "_PRUNE_FROM_ELEMENTS", 1)
        points = 0
        for _, work in each_point(begun, INDEX, stride=5 if size == "bounds" else 1):
            points += 1
            assert_sound(work.index, [work.rows, after(work.rows, key, row)])
    assert points > 5


NESTED: dict[str, tuple[Callable[[VectorIndex], object], str, Any]] = {
    "a new row": (lambda index: index.put("nested", FRESH[2]), "nested", FRESH[2]),
    "the same row": (lambda index: index.put("0", FRESH[2]), "0", FRESH[2]),
    "a removal": (lambda index: index.discard("0"), "0", None),
    "a search": (lambda index: index.search(FRESH[0], -1.0), "none", None),
}


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("change", CHANGES)
def test_what_comes_in_the_middle_of_a_change_is_refused_or_done(change: str, nested: str) -> None:
    """At any point, another operation of the same thread is refused, or it is as if it had come before or after."""
    act, key, row = CHANGES[change]
    operation, other_key, other_row = NESTED[nested]
    refused: list[bool] = []

    def meanwhile(work: Changed) -> None:
        refused.append(False)
        try:
            operation(work.index)
        except BusyError:
            refused[-1] = True

    def begun() -> Changed:
        return Changed(20, act, learnt=False)

    with small_sizes():
        for _, work in each_point(begun, INDEX, meanwhile):
            changed = after(work.rows, key, row)
            first = after(after(work.rows, other_key, other_row), key, row)
            last = after(changed, other_key, other_row)
            assert_sound(work.index, [changed] if refused[-1] else [first, last])
    assert {True, False} == set(refused)
