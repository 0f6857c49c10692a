"""What benchmarks of storages share: vectors as embeddings are, and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def made_vectors(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Return unit vectors in groups of look-alikes, with a common direction, as embeddings have."""
    random = np.random.default_rng(seed)
    spectrum = 1.0 / np.sqrt(np.arange(1, dim + 1))
    centres = random.standard_normal((max(1, count // 5), dim)) * spectrum
    centres[:, 0] += 0.5
    rows = centres[random.integers(len(centres), size=count)]
    return units(rows / np.linalg.norm(rows, axis=1)[:, None] + noise(random, rows.shape, 0.25))


def noise(random: np.random.Generator, shape: tuple[int, ...], length: float) -> NDArray[np.float64]:
    """Return random rows of about a length."""
    rows: NDArray[np.float64] = random.standard_normal(shape) * (length / np.sqrt(shape[-1]))
    return rows


def units(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows of unit length."""
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)
    return unit


def enlarged(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return `count` vectors: the given ones, then others near them."""
    random = np.random.default_rng(7)
    extra = vectors[random.integers(len(vectors), size=max(0, count - len(vectors)))]
    return np.concatenate([vectors, units(extra + noise(random, extra.shape, 0.5))])[:count]


def show(label: str, seconds: Sequence[float]) -> None:
    """Print the median, the 99th percentile and the worst of some times."""
    p50, p99, worst = (1000 * float(each) for each in np.percentile(seconds, [50, 99, 100]))
    print(f"  {label:<46} p50 {p50:8.3f} ms   p99 {p99:8.3f} ms   max {worst:8.3f} ms   n {len(seconds)}")


def timed(work: Callable[[], Any], into: list[float]) -> Any:
    """Return what `work` does, and note how long it took."""
    began = perf_counter()
    result = work()
    into.append(perf_counter() - began)
    return result
