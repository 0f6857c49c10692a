"""Vectors made comparable: embeddings of unit length, and the cosine of two of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from recallm.errors import OddVectorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recallm.typing import Vector


def normalise(embedding: Sequence[float] | NDArray[Any]) -> Vector:
    """Return an embedding as a unit vector.

    Args:
        embedding: shape (dim,), any real dtype, finite, not all zeros.

    Returns:
        shape (dim,), float32, length 1 within float32 rounding; a new, read-only array.

    Raises:
        OddVectorError: it is ragged, empty, of another shape, not finite, or without direction.

    >>> normalise([3.0, 4.0]).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    try:
        # A copy, as the embedder may write into its own array at any time.
        wide = np.array(embedding, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise OddVectorError(f"the embedder returned a {type(embedding).__name__} that is not a vector") from None
    if wide.ndim != 1 or wide.size == 0:
        raise OddVectorError(f"the embedder returned an array of shape {wide.shape}; it must be (dim,)")
    largest = float(np.abs(wide).max())
    if not isfinite(largest) or largest == 0.0:
        raise OddVectorError(f"the embedder returned a vector whose largest component is {largest}")
    # Scaling first keeps the squares within range, however large or small the components are.
    scaled = wide / largest
    unit: Vector = (scaled / sqrt(scaled.dot(scaled))).astype(np.float32)
    unit.flags.writeable = False
    return unit


def similarity(one: Vector, other: Vector) -> float:
    """Return the cosine of two unit vectors, computed in float64.

    Args:
        one: shape (dim,), float32, unit length.
        other: likewise, of the same dimension.

    Raises:
        OddVectorError: the dimensions differ.
    """
    if one.shape != other.shape:
        raise OddVectorError(f"vectors of shape {one.shape} and {other.shape} have no similarity")
    return float(np.dot(one.astype(np.float64), other.astype(np.float64)))
