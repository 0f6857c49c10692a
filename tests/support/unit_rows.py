"""Unit vectors of many shapes, for tests of the vector index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows divided by their norms, in float32."""
    wide = np.atleast_2d(np.asarray(rows, np.float64))
    units: NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return units


def random_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Directions spread evenly."""
    return unit(rng.standard_normal((n, dim)))


def clustered_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Tight groups around shared centres on a few leading directions."""
    centres = rng.standard_normal((max(2, n // 40), dim)) * np.geomspace(1.0, 0.02, dim)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noise = rng.standard_normal((n, dim)) * (0.25 / np.sqrt(dim))
    return unit(centres[rng.integers(0, len(centres), n)] + noise)


def duplicated_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Half the rows equal, the others clustered."""
    rows = clustered_rows(rng, n, dim)
    rows[rng.permutation(n)[: n // 2]] = rows[0]
    return rows


def anisotropic_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """A narrow cone: every pair is alike."""
    return unit(rng.standard_normal((n, dim)) * 0.6 / np.sqrt(dim) + unit(rng.standard_normal(dim)))


def low_rank_rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Rows in a subspace of a few dimensions, where residual norms vanish."""
    rank = max(1, min(5, dim - 1))
    return unit(rng.standard_normal((n, rank)) @ rng.standard_normal((rank, dim)))


SHAPES: dict[str, Callable[[np.random.Generator, int, int], NDArray[np.float32]]] = {
    "random": random_rows,
    "clustered": clustered_rows,
    "duplicated": duplicated_rows,
    "anisotropic": anisotropic_rows,
    "low rank": low_rank_rows,
}
