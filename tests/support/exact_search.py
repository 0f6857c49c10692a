"""What a vector index must answer, computed by brute force; and sizes at which few rows cross its every boundary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from recallm.storage.index import bounds, scan, vector_index
from recallm.storage.index.vector_index import VectorIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-12

SMALL: dict[ModuleType, dict[str, float]] = {
    vector_index: {
        "_PIECE_ROWS": 64,
        "_PIECE_ELEMENTS": 1 << 14,
        "_BLOCK_PIECES": 4,
        "_SCORED_UNDER_LOCK": 40,
        "_JOURNAL": 64,
        "_LEARN_ROWS": 300,
        "_LEARN_ELEMENTS": 300,
        "_SAMPLE_ROWS": 320,
    },
    scan: {
        "_PRUNE_FROM_ELEMENTS": 1 << 14,
        "_PIECE_ELEMENTS": 1 << 13,
        "_FIRST_SCORED": 8,
        "_FEW_ROWS": 4,
        "_WIDENED_ROWS": 32,
        "_EXACT_ROWS": 16,
    },
    bounds: {"_PIECE_ROWS": 32, "_WORTH_IT": 10.0},
}
"""Sizes at which some hundred rows cross every boundary that a hundred thousand cross otherwise.

Bounds are used whether they pay or not.
"""


@contextmanager
def small_sizes(**changes: int) -> Iterator[None]:
    """Give the index small pieces and blocks, and have it learn, prune and journal early."""
    with pytest.MonkeyPatch.context() as patch:
        for module, sizes in SMALL.items():
            for name, size in sizes.items():
                patch.setattr(module, name, size)
        for name, size in changes.items():
            patch.setattr(vector_index, name, size)
        yield


def filled(rows: NDArray[np.float32]) -> VectorIndex:
    """An index of these rows, keyed by their number."""
    index = VectorIndex(rows.shape[1])
    for number, row in enumerate(rows):
        index.put(f"{number:06d}", row)
    return index


class Cosines(NamedTuple):
    """The float64 cosine of every row, and where among them that of each key stands."""

    places: dict[str, int]
    values: NDArray[np.float64]


def brute(rows: Mapping[str, NDArray[np.float32]], query: NDArray[np.float32]) -> Cosines:
    """Every key's float64 cosine, computed independently of the index."""
    matrix = np.array(list(rows.values()), np.float64).reshape(-1, len(query))
    return Cosines({key: place for place, key in enumerate(rows)}, matrix @ query.astype(np.float64))


def assert_exact(found: list[tuple[str, float]], cosines: Cosines, threshold: float, limit: int) -> None:
    """The found rows are the best `limit` at or above the threshold, to float64 rounding."""
    places = [cosines.places[key] for key, _ in found]
    assert len(set(places)) == len(places)
    assert found == sorted(found, key=lambda row: (-row[1], row[0]))
    for place, (_, similarity) in zip(places, found, strict=True):
        assert abs(similarity - cosines.values[place]) <= ROUNDING
        assert similarity >= threshold
    sure = int(np.count_nonzero(cosines.values >= threshold + ROUNDING))
    possible = int(np.count_nonzero(cosines.values >= threshold - ROUNDING))
    assert min(sure, limit) <= len(found) <= min(possible, limit)
    lowest = found[-1][1] if len(found) == limit else threshold
    assert set(np.flatnonzero(cosines.values > lowest + ROUNDING)) <= set(places)


def assert_bounds_are_in_use(index: VectorIndex) -> None:
    """Axes have been learnt that pay at a usual threshold, and every piece has its bounds under them."""
    axes = index._axes

    assert axes is not None
    assert axes.head_at(0.92) > 0
    pieces = -(-len(index) // index._piece_rows)
    tables = [table for block in index._blocks for table in block.tables][:pieces]
    assert all(table is not None and table.axes is axes for table in tables)
