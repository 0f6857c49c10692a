"""Upper bounds on a cosine from a few leading axes: the arithmetic behind the exact index.

Split every vector into its part on ``k`` orthonormal axes and the rest, ``x = x1 + x2``. By the
Cauchy-Schwarz inequality ``q . x <= q1 . x1 + |q2| |x2|``, so a row whose bound stays under the threshold
needs no further look. The nearer the axes are to the leading principal axes (of the uncentred second
moments), the tighter the bound; any orthonormal axes keep it true, so stale axes cost time, never a hit.

A table is read in two steps, as memory is what a scan waits for: the head, a few axes and their residual
norms for all rows, and for the rows it leaves the tail, all further axes with the last residual norm. There
may be several heads, each a prefix of the next; a strict threshold reads the shortest that still prunes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

_Real = TypeVar("_Real", np.float32, np.float64)

LEVELS = (16, 24, 32, 48, 64, 96)
SLACK = 4e-5
"""What a bound may fall short of the true cosine by rounding; derived in `Axes`."""

SLACK_OF_ALL = 9e-4
"""The same of a bound from all axes."""

_UNDER_ROOT = 1e-10

_STEP = 2.0**-14
"""What the numbers of a tail are counted in, so that two bytes hold one; none is above 1.001."""

# Costs are counted in numbers of a head, which are read in order: 0.06 ns each where they were measured (x86-64).
_GATHER_COST = 6.0
"""Of a number of a row that bounds leave: 2.5 to gather and multiply it, the rest to choose rows and for exact sums."""

_TAIL_COST = 1.5
_TAIL_CALLS = 50.0
"""Of a number of a tail, and of picking a tail: 140 to 150 for a tail of 52 numbers."""

_WORTH_IT = 0.35
"""The share of a row's numbers that bounds may cost: it is an average, and some searches must cost more."""

_HEAD_AND_WHOLE = 2
_GRID = 100
"""Thresholds are planned for in hundredths."""

_ITERATIONS = 8
"""How often the axes are improved.

Among prompts, 64 axes then keep 99.7 % of the length that the best 64 of 384 keep, and 94 % if learnt from other rows.
"""

HELD_OUT = 8
"""What part of a sample axes are not learnt from: it tells how many rows bounds would leave."""

_DEPENDENT = 1e-9
_SLICE_PRODUCTS = 1 << 25
"""How many multiplications a slice of learning takes at most: some milliseconds."""

_UNTHREADED_PRODUCTS = 1 << 18
"""How many multiplications OpenBLAS does not spread over threads."""

_PIECE_ROWS = 128


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """Orthonormal axes, the heads built on them, and which head pays at which threshold.

    Rounding. Let every vector have a norm of at most 1.001. Coordinates and norms are computed in float64,
    where the products of float32 values are exact and sums of up to 4,096 terms err by less than 1e-12; the
    axes come from float64 Gram-Schmidt done twice, orthonormal (or zero) to about 1e-15 * k. A squared
    residual norm thus errs by less than 1e-11, which 1e-10 added under the root covers on the side of a
    larger bound. Storing both factors in float32 errs by 2 * 2**-24 relatively; the float32 product with a
    head of m <= 102 columns by m * 2**-24 * 1.001**2 in any order of summation, the one with a tail, which
    also takes the head's residual term back, by twice that: together below 1.9e-5. Adding the two and
    rounding the threshold to float32 errs by 2e-7. `SLACK` is 4e-5, twice as much.

    A tail's numbers are whole steps, less than one step from their float32 values. What they are multiplied
    with, m <= 87 numbers, has a norm of at most 1.001 * sqrt(2): the squares of the coordinates and of the
    last residual norm add up to that of the head, which is the remaining one. By Cauchy-Schwarz the sum of their
    magnitudes is at most sqrt(2 m) * 1.001, and the bound moves by at most a step times that, 8.1e-4.
    `SLACK_OF_ALL` is 9e-4, which holds `SLACK` as well.

    Args:
        spread: float64, shape (dim, width): orthonormal columns, and a zero column after the last axis of
            each head and of the whole, where a table keeps residual norms.
        ends: the width of each head, its residual norm included, and of the whole, ascending.
        plan: for each threshold in hundredths, 0 to 100, the head that costs least, or 0 for none.
    """

    spread: NDArray[np.float64]
    ends: tuple[int, ...]
    plan: tuple[int, ...]

    def head_at(self, threshold: float) -> int:
        """Return the head that costs least at this threshold, or 0 if a plain product costs less."""
        return self.plan[int(min(threshold, 1.0) * _GRID)] if threshold > 0.0 else 0

    def split(self, columns: NDArray[_Real]) -> tuple[NDArray[_Real], NDArray[_Real]]:
        """Return the parts of a table's columns kept as the head and, in steps, as the tail; they overlap."""
        return columns[..., : self.ends[-2]], columns[..., self.ends[0] - 1 :] * (1 / _STEP)

    def table(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the coordinates and residual norms of rows.

        Args:
            rows: float32, shape (n, dim), norms at most 1.001.

        Returns:
            float32, shape (n, width).
        """
        table = np.empty((len(rows), self.spread.shape[1]), np.float32)
        for start in range(0, len(rows), _PIECE_ROWS):
            piece = rows[start : start + _PIECE_ROWS].astype(np.float64)
            table[start : start + len(piece)] = self._with_residuals(piece, _product(piece, self.spread))
        return table

    def _with_residuals(self, rows: NDArray[np.float64], coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        rest = np.einsum("ij,ij->i", rows, rows)
        start = 0
        for end in self.ends:
            part = coordinates[:, start:end]
            rest = rest - np.einsum("ij,ij->i", part, part)
            coordinates[:, end - 1] = np.sqrt(np.maximum(rest, 0.0) + _UNDER_ROOT)
            start = end
        return coordinates

    def table_row(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the table of one row, shape (width,), as `table` does for many."""
        exact = row.astype(np.float64)
        entries = exact @ self.spread
        sums = np.add.accumulate(entries * entries)
        at = np.subtract(self.ends, 1)
        entries[at] = np.sqrt(np.maximum(exact @ exact - sums[at], 0.0) + _UNDER_ROOT)
        return entries

    def head_weights(self, vector: NDArray[np.float32], head: int) -> NDArray[np.float32]:
        """Return what to multiply a head with to get every row's bound.

        Args:
            vector: float32, shape (dim,), norm at most 1.001.
            head: one of `ends` but the last.

        Returns:
            Weights whose product with a head's first columns is a bound, float32, shape (head,).
        """
        exact = vector.astype(np.float64)
        # The columns where a table keeps residual norms are zero, and so are these weights but for the last one.
        weights = exact @ self.spread[:, :head]
        weights[-1] = sqrt(max(float(exact.dot(exact) - weights.dot(weights)), 0.0) + _UNDER_ROOT)
        return weights.astype(np.float32)

    def tail_weights(self, vector: NDArray[np.float32], head: int) -> NDArray[np.float32]:
        """Return what to multiply a tail with: the product makes a bound of `head_weights` the bound of all axes.

        Args:
            vector: as of `head_weights`.
            head: as of `head_weights`.

        Returns:
            float32, shape (tail width,).
        """
        weights = self.table_row(vector)
        residual = -weights[head - 1]
        weights[: head - 1] = 0.0
        weights[np.subtract(self.ends[:-1], 1)] = 0.0
        weights[head - 1] = residual
        return (weights[self.ends[0] - 1 :] * _STEP).astype(np.float32)


def learn_axes(sample: NDArray[np.float32], threshold: float) -> Generator[None, None, Axes | None]:
    """Learn axes from a sample of rows, a slice of the work at each step.

    The first eighth of the rows is kept out of the learning and says, for each number of axes and each
    threshold, what share of rows a bound would fail to exclude.

    Args:
        sample: float32, shape (n, dim), unit rows, n >= 256, the first eighth as good as drawn from all.
        threshold: the cosine the table's width is chosen for, 0 to 1.

    Yields:
        None, between slices of a few milliseconds.

    Returns:
        The axes, or None if no number of them beats a plain product. Source: orthogonal (subspace) iteration,
        Golub and Van Loan, "Matrix Computations", 4th edition (2013), section 8.2.4.
    """
    dim = sample.shape[1]
    levels = tuple(level for level in LEVELS if level <= dim // 2)
    if len(levels) < _HEAD_AND_WHOLE:
        return None
    held_out = -(-len(sample) // HELD_OUT)
    moments = yield from _second_moments(sample[held_out:])
    basis = yield from _leading_axes(moments, levels[-1])
    shares = yield from _shares_left(basis, sample[:held_out], levels)
    costs = _costs(shares, levels, dim)
    column = min(max(int(threshold * _GRID), 0), _GRID)
    head, whole = (int(at) for at in np.unravel_index(np.argmin(costs[:, :, column]), costs.shape[:2]))
    used = np.array([*levels[: head + 1], levels[whole]])
    ends = used + np.arange(1, len(used) + 1)
    kept = costs[: head + 1, whole]
    plan = np.where(kept.min(axis=0) < _WORTH_IT * dim, ends[kept.argmin(axis=0)], 0)
    if not plan.any():
        return None
    spread = np.zeros((dim, int(ends[-1])))
    spread[:, np.delete(np.arange(ends[-1]), ends - 1)] = basis[:, : used[-1]]
    return Axes(spread, tuple(ends.tolist()), tuple(plan.tolist()))


def _costs(shares: NDArray[np.float64], levels: tuple[int, ...], dim: int) -> NDArray[np.float64]:
    """Return what each head, whole and threshold costs, in numbers read in order for each row."""
    costs = np.full((len(levels), len(levels), _GRID + 1), np.inf)
    for head, whole in combinations(range(len(levels)), 2):
        tail = _TAIL_COST * (levels[whole] - levels[0]) + _TAIL_CALLS
        costs[head, whole] = levels[head] + shares[head] * tail + shares[whole] * _GATHER_COST * dim
    return costs


def _second_moments(rows: NDArray[np.float32]) -> Generator[None, None, NDArray[np.float64]]:
    dim = rows.shape[1]
    moments = np.zeros((dim, dim))
    step = max(16, _SLICE_PRODUCTS // dim**2)
    for start in range(0, len(rows), step):
        piece = rows[start : start + step]
        moments += _product(np.ascontiguousarray(piece.T), piece)
        yield
    return moments


def _leading_axes(moments: NDArray[np.float64], k: int) -> Generator[None, None, NDArray[np.float64]]:
    basis = np.random.default_rng(0).standard_normal((len(moments), k))
    for _ in range(_ITERATIONS):
        image = _product(moments, basis)
        yield
        basis = _orthonormal(image)
        yield
    return basis


def _orthonormal(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    # Gram-Schmidt, done twice, is orthogonal to rounding and, unlike LAPACK's, never threaded (see
    # `_product`).
    axes = np.zeros(columns.shape[::-1])
    for number, column in enumerate(columns.T):
        rest = column
        for _ in range(2):
            rest = rest - (axes[:number] @ rest) @ axes[:number]
        norm = sqrt(rest @ rest)
        # A column that depends on those before it stays zero: an axis fewer, and the bound is still true.
        if norm > _DEPENDENT * sqrt(column @ column):
            axes[number] = rest / norm
    return axes.T.copy()


def _product(left: NDArray[_Real], right: NDArray[_Real]) -> NDArray[_Real]:
    # Many small products under OpenBLAS's threading size: on a busy machine its threads stall for 8 ms a
    # call.
    at_once = max(1, _UNTHREADED_PRODUCTS // right.size)
    whole = len(left) - len(left) % at_once
    product = np.empty((len(left), right.shape[1]), left.dtype)
    np.matmul(
        left[:whole].reshape(-1, at_once, left.shape[1]),
        right,
        out=product[:whole].reshape(-1, at_once, right.shape[1]),
    )
    if whole < len(left):
        np.matmul(left[whole:], right, out=product[whole:])
    return product


def _shares_left(
    basis: NDArray[np.float64], rows: NDArray[np.float32], levels: tuple[int, ...]
) -> Generator[None, None, NDArray[np.float64]]:
    coordinates = rows.astype(np.float64) @ basis
    total = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    edges = np.arange(_GRID + 1) / _GRID
    shares = np.empty((len(levels), _GRID + 1))
    for level, upto in enumerate(levels):
        part = coordinates[:, :upto]
        residual = np.sqrt(np.maximum(total - np.einsum("ij,ij->i", part, part), 0.0))
        bound = np.sort((_product(part, part.T) + np.outer(residual, residual))[~np.eye(len(rows), dtype=bool)])
        shares[level] = 1.0 - np.searchsorted(bound, edges) / bound.size
        yield
    return shares
