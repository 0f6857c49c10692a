"""One exact scan over blocks of rows: bound, score what the bounds leave, decide in float64."""

from __future__ import annotations

import mmap
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from recallm.storage.index.bounds import SLACK, SLACK_OF_ALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recallm.storage.index.bounds import Axes

_Number = TypeVar("_Number", np.float32, np.int16)

_PRUNE_FROM_ELEMENTS = 400_000
"""From how many numbers on bounds are looked at: below, a product over all rows takes about as long.

From 460,800 on OpenBLAS spreads a product over threads, which on a busy machine stall a search for milliseconds.
"""

_PIECE_ELEMENTS = 450_000
"""How many numbers are gathered at a time: 1.8 MB, which processors' caches hold."""

_FIRST_SCORED = 64
"""How many rows are scored first, those of the best bounds; so few are not worth the tighter bounds of their tails."""

_FEW_ROWS = 32
"""Up to how many rows exact sums cost less than a float32 product that leaves some of them out."""

_WIDENED_ROWS = 2048
"""How many tails are widened to float32 at a time."""

_EXACT_ROWS = 256
"""How many rows are widened to float64 at a time."""

_WORST_HEAD_SHARE = 0.6
_WORST_SHARE = 0.2
"""The shares of rows left by a head, and by all axes, above which a product over all rows takes less time."""

_LINE_FLOATS = 16
"""How many float32 numbers a processor's cache line holds."""

_MAPPED_BYTES = 1 << 20
"""From which size on zeros have memory of their own."""

_NOWHERE = np.empty(0, np.intp)
_NOTHING = np.empty(0, np.float64)


class SearchRequest(NamedTuple):
    """What to look for.

    Attributes:
        query: float32, contiguous, shape (dim,), unit length.
        threshold: the least cosine wanted.
        limit: how many rows are wanted, at least 1.
    """

    query: NDArray[np.float32]
    threshold: float
    limit: int


class SearchResult(NamedTuple):
    """The rows found, in no order; they may be more than were wanted.

    Attributes:
        positions: where they stand, shape (n,); rows equal to the last one wanted are all among them.
        similarities: their cosines, float64, shape (n,).
    """

    positions: NDArray[np.intp]
    similarities: NDArray[np.float64]


_NONE = SearchResult(_NOWHERE, _NOTHING)


class Table(NamedTuple):
    """What the bounds of a block's rows come from, under some axes.

    Heads stand in columns, piece by piece, so that one product reads them in order; tails stand in lines, to
    be picked. Shapes (pieces, head width, piece rows), float32, and (rows, tail width), in whole steps. Zeros stand
    for rows not in use: a product over them must not meet a NaN.
    """

    axes: Axes
    heads: NDArray[np.float32]
    tails: NDArray[np.int16]


class Block:
    """Some rows and, piece by piece once axes are learnt, the table their bounds come from.

    Args:
        rows: float32, shape (capacity, dim); the index knows how many are in use.
        piece_rows: how many rows get their bounds at a time; a divisor of the capacity, or more than it.
    """

    __slots__ = ("_newest", "piece_rows", "rows", "tables")

    def __init__(self, rows: NDArray[np.float32], piece_rows: int) -> None:
        """Wrap rows without bounds."""
        self.rows = rows
        self.piece_rows = min(piece_rows, len(rows))
        self.tables: list[Table | None] = [None] * (len(rows) // self.piece_rows)
        self._newest: Table | None = None

    def add_bounds(self, piece: int, axes: Axes, used: int) -> None:
        """Give the first ``used`` rows of a piece their bounds under these axes."""
        start = piece * self.piece_rows
        head, tail = axes.split(axes.table(self.rows[start : start + used]))
        if self._newest is None or self._newest.axes is not axes:
            heads = zeros(np.float32, len(self.tables), head.shape[1], self.piece_rows)
            self._newest = Table(axes, heads, zeros(np.int16, len(self.rows), tail.shape[1]))
        self._newest.heads[piece, :, :used] = head.T
        self._newest.tails[start : start + used] = tail
        self.tables[piece] = self._newest

    def drop_bounds(self) -> None:
        """Forget all bounds."""
        self.tables = [None] * len(self.tables)
        self._newest = None

    def write(self, slot: int, row: NDArray[np.float32]) -> None:
        """Set one row and its bounds."""
        piece, at = divmod(slot, self.piece_rows)
        table = self.tables[piece]
        if table is None:
            self.rows[slot] = row
            return
        head, tail = table.axes.split(table.axes.table_row(row))
        # No bounds, until they are those of this row: if this is cut short, the old ones would hide it.
        self.tables[piece] = None
        self.rows[slot] = row
        table.heads[piece, :, at], table.tails[slot] = head, tail
        self.tables[piece] = table


def room_for_rows(capacity: int, dim: int) -> NDArray[np.float32]:
    """Return room for rows. If they are many it begins a cache line, as products then take an eighth less time."""
    if capacity <= _FEW_ROWS:
        return np.empty((capacity, dim), np.float32)
    room = np.empty(capacity * dim + _LINE_FLOATS, np.float32)
    start = -room.ctypes.data // room.itemsize % _LINE_FLOATS
    return room[start : start + capacity * dim].reshape(capacity, dim)


def zeros(dtype: type[_Number], *shape: int) -> NDArray[_Number]:
    """Return zeros, which take memory and time as they are written if they are many, and give it back at once.

    An allocator that has memory left from before clears all of it at once: 30 MB for a block, in 20 ms.
    """
    size_bytes = np.dtype(dtype).itemsize * prod(shape)
    if size_bytes < _MAPPED_BYTES or not hasattr(mmap, "MAP_ANONYMOUS"):  # as on Windows
        return np.zeros(shape, dtype)
    # Private, so that a forked child has its own.
    room = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(room, dtype).reshape(shape)


class _TopK:
    """The best rows found so far, and the cosine that further ones must reach: the threshold, or the last one's."""

    __slots__ = ("_tail_weights", "_weights", "cutoff", "limit", "positions", "query", "similarities", "slack")

    def __init__(self, request: SearchRequest) -> None:
        self.query, self.cutoff, self.limit = request
        self.slack = _slack(self.query)
        self.positions = _NOWHERE
        self.similarities = _NOTHING
        self._weights: dict[Axes, NDArray[np.float32] | None] = {}
        self._tail_weights: dict[Axes, NDArray[np.float32]] = {}

    def weights(self, axes: Axes) -> NDArray[np.float32] | None:
        """Return what to multiply the heads under these axes with, or None if bounds would not pay."""
        if axes not in self._weights:
            head = axes.head_at(self.cutoff)
            self._weights[axes] = axes.head_weights(self.query, head) if head else None
        return self._weights[axes]

    def tail_weights(self, axes: Axes, head: int) -> NDArray[np.float32]:
        """Return what to multiply the tails under these axes with; few searches come to read any."""
        if axes not in self._tail_weights:
            self._tail_weights[axes] = axes.tail_weights(self.query, head)
        return self._tail_weights[axes]

    def score(self, blocks: Sequence[Block], positions: NDArray[np.intp]) -> None:
        """Score rows at ascending positions; keep those that reach the cutoff, and raise it."""
        step = max(1, _PIECE_ELEMENTS // self.query.size)
        for start in range(0, len(positions), step):
            chunk = positions[start : start + step]
            rows = gathered(blocks, chunk)
            if len(chunk) > _FEW_ROWS:
                near = np.flatnonzero(rows @ self.query >= self.cutoff - self.slack)
                if not len(near):
                    continue
                chunk, rows = chunk[near], rows[near]
            self._keep(chunk, _exact(rows, self.query))

    def _keep(self, positions: NDArray[np.intp], similarities: NDArray[np.float64]) -> None:
        reached = similarities >= self.cutoff
        positions, similarities = positions[reached], similarities[reached]
        if len(self.positions):
            positions = np.concatenate((self.positions, positions))
            similarities = np.concatenate((self.similarities, similarities))
        if len(positions) > self.limit:
            self.cutoff = float(np.partition(similarities, -self.limit)[-self.limit])
            reached = similarities >= self.cutoff
            positions, similarities = positions[reached], similarities[reached]
        self.positions, self.similarities = positions, similarities

    def result(self) -> SearchResult:
        """Return the rows found."""
        return SearchResult(self.positions, self.similarities)


def scan(blocks: Sequence[Block], count: int, request: SearchRequest) -> SearchResult:
    """Find the best rows at or above a threshold.

    Args:
        blocks: the rows, all blocks but the last full.
        count: how many rows are in use.
        request: what to look for.

    Returns:
        The rows found.
    """
    if not count:
        return _NONE
    pruning = count * request.query.size >= _PRUNE_FROM_ELEMENTS
    if not pruning and len(blocks) == 1:
        return _plain(blocks, count, request)
    top = _TopK(request)
    size, piece_rows = len(blocks[0].rows), blocks[0].piece_rows
    buffer = np.empty(-(-min(count, size) // piece_rows) * piece_rows, np.float32)
    left: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
    for number, block in enumerate(blocks):
        start = number * size
        if start >= count:  # room for a row that was never written
            break
        used = min(count - start, size)
        survivors = _pruned(block, buffer, used, top) if pruning else None
        positions, bounds = _sieved(block, buffer[:used], top) if survivors is None else survivors
        if len(positions):
            left.append((positions + start, bounds))
    if len(left) == 1:
        _settle(blocks, *left[0], top)
    elif left:
        positions, bounds = map(np.concatenate, zip(*left, strict=True))
        _settle(blocks, positions, bounds, top)
    return top.result()


class _Survivors(NamedTuple):
    """The rows that a sieve has left, at ascending positions, and how high their cosines can be."""

    positions: NDArray[np.intp]
    bounds: NDArray[np.float32]


def _plain(blocks: Sequence[Block], count: int, request: SearchRequest) -> SearchResult:
    """Scan a single block, small enough that whatever spares rows would cost more than it saves."""
    rows, (query, threshold, _) = blocks[0].rows, request
    near = (rows[:count].dot(query) >= threshold - _slack(query)).nonzero()[0]
    if not len(near):
        return _NONE
    if len(near) <= _FEW_ROWS:
        similarities = _exact(rows.take(near, axis=0), query)
        reached = similarities >= threshold
        return SearchResult(near[reached], similarities[reached])
    top = _TopK(request)
    top.score(blocks, near)
    return top.result()


def _slack(query: NDArray[np.float32]) -> float:
    """Return what the float32 product of two rows may fall short of their cosine; see `VectorIndex`."""
    return (query.size + 4) * 2.0**-23


def _sieved(block: Block, products: NDArray[np.float32], top: _TopK) -> _Survivors:
    """Return the rows of a block whose float32 product reaches the cutoff; `products` is room for all of them."""
    np.dot(block.rows[: len(products)], top.query, out=products)
    near = (products >= top.cutoff - top.slack).nonzero()[0]
    return _Survivors(near, products[near] + np.float32(top.slack))


class _Run(NamedTuple):
    """Rows of consecutive pieces under one table; without weights their product with the query is their bound."""

    start: int
    end: int
    table: Table | None
    weights: NDArray[np.float32] | None


def _pruned(block: Block, buffer: NDArray[np.float32], used: int, top: _TopK) -> _Survivors | None:
    """Return the rows of a block that bounds leave, or None if bounds do not pay; `buffer` is room for whole pieces."""
    runs = _runs(block, used, top)
    if all(run.weights is None for run in runs):
        return None
    _bound_by_heads(block, runs, buffer, used, top)
    left = (buffer[:used] >= top.cutoff - SLACK).nonzero()[0]
    if len(left) > _WORST_HEAD_SHARE * used:
        return None
    bounds = buffer[left]
    slack = SLACK
    if len(left) > _FIRST_SCORED:
        _tighten_by_tails(runs, left, bounds, top)
        slack = SLACK_OF_ALL
        still = (bounds >= top.cutoff - slack).nonzero()[0]
        left, bounds = left[still], bounds[still]
    if len(left) > _WORST_SHARE * used:
        return None
    return _Survivors(left, bounds + np.float32(slack))


def _runs(block: Block, used: int, top: _TopK) -> list[_Run]:
    # Few calls over many pieces: each gives up the interpreter, which a busy thread then keeps for 5 ms.
    size = block.piece_rows
    tables = block.tables[: -(-used // size)]
    edges = [0, *(piece for piece in range(1, len(tables)) if tables[piece] is not tables[piece - 1]), len(tables)]
    runs: list[_Run] = []
    for start, end in pairwise(edges):
        table = tables[start]
        runs.append(_Run(start * size, end * size, table, table and top.weights(table.axes)))
    return runs


def _bound_by_heads(block: Block, runs: list[_Run], buffer: NDArray[np.float32], used: int, top: _TopK) -> None:
    """Write a bound on the cosine of every row in use to the buffer."""
    size = block.piece_rows
    for start, end, table, weights in runs:
        if table is None or weights is None:
            products = buffer[start : min(end, used)]
            np.dot(block.rows[start : start + len(products)], top.query, out=products)
            products += top.slack
        else:
            columns = table.heads[start // size : end // size, : len(weights)]
            np.matmul(weights, columns, out=buffer[start:end].reshape(-1, size))


def _tighten_by_tails(runs: list[_Run], positions: NDArray[np.intp], bounds: NDArray[np.float32], top: _TopK) -> None:
    """Make the bounds of rows from a head's axes the bounds from all axes, in place."""
    for start, end, table, weights in runs:
        if table is not None and weights is not None:
            of_run = slice(*np.searchsorted(positions, (start, end)).tolist())
            tail = top.tail_weights(table.axes, len(weights))
            bounds[of_run] += _products(table.tails, positions[of_run], tail)


def _products(
    tails: NDArray[np.int16], positions: NDArray[np.intp], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the products of the tails at ascending positions, widened in parts that caches hold."""
    if len(positions) <= _WIDENED_ROWS:
        few: NDArray[np.float32] = tails.take(positions, axis=0).astype(np.float32) @ weights
        return few
    products = np.empty(len(positions), np.float32)
    for start in range(0, len(positions), _WIDENED_ROWS):
        some = positions[start : start + _WIDENED_ROWS]
        np.dot(tails.take(some, axis=0).astype(np.float32), weights, out=products[start : start + len(some)])
    return products


def _settle(blocks: Sequence[Block], positions: NDArray[np.intp], bounds: NDArray[np.float32], top: _TopK) -> None:
    first = max(_FIRST_SCORED, top.limit)
    if len(positions) > 2 * first:
        # The best bounds first: they raise the cutoff and spare most of the others.
        split = len(positions) - first
        order = np.argpartition(bounds, split)
        top.score(blocks, np.sort(positions[order[split:]]))
        rest = np.sort(order[:split])
        positions = positions[rest[bounds[rest] >= top.cutoff]]
    top.score(blocks, positions)


def exact_similarities(
    blocks: Sequence[Block], positions: NDArray[np.intp], query: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the float64 cosines of the rows at ascending positions."""
    return _exact(gathered(blocks, positions), query)


def _exact(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    # A sum along rows, not a BLAS product: equal rows get equal sums whatever stands beside them.
    wide = query.astype(np.float64)
    if len(rows) <= _EXACT_ROWS:
        sums: NDArray[np.float64] = np.add.reduce(rows * wide, axis=1)  # of a few rows, half of the time of np.sum
        return sums
    values = np.empty(len(rows))
    for start in range(0, len(rows), _EXACT_ROWS):
        np.sum(rows[start : start + _EXACT_ROWS] * wide, axis=1, out=values[start : start + _EXACT_ROWS])
    return values


def gathered(blocks: Sequence[Block], positions: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return a copy of the rows at ascending positions, shape (n, dim)."""
    size = len(blocks[0].rows)
    if len(blocks) == 1:
        return blocks[0].rows.take(positions, axis=0)
    rows = np.empty((len(positions), blocks[0].rows.shape[1]), np.float32)
    numbers = positions // size
    edges = np.flatnonzero(np.diff(numbers)) + 1
    starts = [0, *edges.tolist(), len(positions)]
    for start, end in pairwise(starts):
        if end > start:
            number = int(numbers[start])
            slots = positions[start:end] - number * size
            blocks[number].rows.take(slots, axis=0, out=rows[start:end], mode="clip")
    return rows
