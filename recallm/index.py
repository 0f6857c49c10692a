"""The exact thresholded index of one partition's vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recallm.errors import OddVectorError

if TYPE_CHECKING:
    from recallm.typing import Vector


class VectorIndex:
    """Exact nearest neighbours among unit vectors, keyed by strings.

    Args:
        dim: the vectors' dimension.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._rows = np.empty((4, dim), dtype=np.float32)
        self._keys: list[str] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, key: str, vector: Vector) -> None:
        """Add a vector, or replace the one under `key`."""
        self.check(vector)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self._keys)
            self._keys.append(key)
            if place == len(self._rows):
                self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[place] = vector

    def discard(self, key: str) -> bool:
        """Remove a vector; return whether there was one."""
        place = self._places.pop(key, None)
        if place is None:
            return False
        last = self._keys.pop()
        if last != key:
            self._keys[place] = last
            self._places[last] = place
            self._rows[place] = self._rows[len(self._keys)]
        return True

    def search(self, vector: Vector, threshold: float, *, limit: int | None = 16) -> list[tuple[str, float]]:
        """Return (key, cosine) of the most similar rows at or above `threshold`, best first."""
        self.check(vector)
        rough = self._rows[: len(self._keys)] @ vector
        places = np.flatnonzero(rough >= threshold - 1e-5)
        exact = self._rows[places].astype(np.float64) @ vector.astype(np.float64)
        found = [(self._keys[at], float(cosine)) for at, cosine in zip(places, exact, strict=True)]
        found = [item for item in found if item[1] >= threshold]
        return sorted(found, key=lambda item: (-item[1], item[0]))[:limit]

    def check(self, vector: Vector) -> None:
        """Raise `OddVectorError` where a vector does not fit."""
        if vector.shape != (self.dim,):
            raise OddVectorError(f"a vector of shape {vector.shape} does not fit an index of dimension {self.dim}")
