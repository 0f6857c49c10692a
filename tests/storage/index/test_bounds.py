"""Bounds on cosines from a few axes are never under the cosine, whatever the rows and the axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.unit_rows import SHAPES, clustered_rows, random_rows

from recallm.storage.index.bounds import SLACK, SLACK_OF_ALL, Axes, learn_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dim", [33, 64, 384])
def test_every_bound_is_at_least_the_cosine(shape: str, dim: int) -> None:
    """At every prefix of the axes the float32 bound, with its slack, is not under the float64 cosine."""
    rng = np.random.default_rng(dim)
    rows = SHAPES[shape](rng, 1_500, dim)
    ends = (9, 17) if dim < 64 else (17, 26, 52)
    spread = np.zeros((dim, ends[-1]))
    axes_at = np.delete(np.arange(ends[-1]), np.subtract(ends, 1))
    sample = rows[:800].astype(np.float64)
    leading = rng.standard_normal((dim, len(axes_at)))
    for _ in range(3):
        leading = np.linalg.qr(sample.T @ (sample @ leading)).Q
    spread[:, axes_at] = leading
    axes = Axes(spread, ends, (0,) * 101)
    table = axes.table(rows)
    assert np.allclose(table[5], axes.table_row(rows[5]), atol=2e-6)
    queries = np.concatenate((rows[-20:], random_rows(rng, 20, dim)))

    cosines = rows.astype(np.float64) @ queries.T.astype(np.float64)
    for head in ends[:-1]:
        first = np.stack([axes.head_weights(query, head) for query in queries], axis=1)
        rest = np.stack([axes.tail_weights(query, head) for query in queries], axis=1)
        loose = table[:, :head] @ first
        tight = loose + axes.split(table)[1].astype(np.int16).astype(np.float32) @ rest
        for bounds, slack in ((loose, SLACK), (tight, SLACK_OF_ALL)):
            assert (bounds.astype(np.float64) + slack - 2.0**-24 >= cosines).all()
        assert (tight <= loose + SLACK_OF_ALL).all()


def learnt(sample: NDArray[np.float32]) -> Axes | None:
    """Return the axes that are learnt from a sample for a threshold of 0.85."""
    learning = learn_axes(sample, 0.85)
    try:
        while True:
            next(learning)
    except StopIteration as finished:
        axes: Axes | None = finished.value
        return axes


@pytest.mark.parametrize("shape", SHAPES)
def test_learnt_axes_are_orthonormal_and_prefer_fewer_for_stricter_thresholds(shape: str) -> None:
    """Whatever the sample, the axes are orthonormal (or zero) to 1e-12, which the bounds rest on."""
    axes = learnt(SHAPES[shape](np.random.default_rng(5), 1_200, 384))
    if shape == "random":
        # Nothing leads in evenly spread directions; bounds pay at the strictest thresholds at most.
        assert axes is None or axes.head_at(0.7) == 0
        return
    assert axes is not None
    used = axes.spread[:, np.delete(np.arange(axes.ends[-1]), np.subtract(axes.ends, 1))]
    products = used.T @ used
    kept = np.diag(products) > 0.5
    assert np.abs(products - np.diag(kept.astype(float))).max() < 1e-12
    assert kept.sum() >= (5 if shape == "low rank" else used.shape[1])
    assert axes.head_at(-0.5) == 0
    assert axes.head_at(0.99) <= axes.ends[-1]


def test_no_axes_are_learnt_where_none_would_exclude_a_row() -> None:
    """Equal rows cannot be told apart by any bound, and rows of few dimensions are cheaper to score."""
    assert learnt(np.repeat(np.eye(1, 384, dtype=np.float32), 1_200, axis=0)) is None
    assert learnt(clustered_rows(np.random.default_rng(5), 1_200, 40)) is None
