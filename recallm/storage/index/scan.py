"""One exact scan over blocks of rows: bound, score what the bounds leave, decide in float64."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recallm.storage.index.bounds import SLACK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recallm.storage.index.bounds import Axes

_PRUNE_FROM_ELEMENTS = 1 << 20
_PIECE_ELEMENTS = 450_000
_FIRST_SCORED = 64
_FEW_ROWS = 32
_EXACT_ROWS = 256
_NOWHERE = np.empty(0, np.intp)
_NOTHING = np.empty(0, np.float64)
_WORST_SHARE = 0.2
_WORST_HEAD_SHARE = 0.6


class Asked(NamedTuple):
    """What a scan looks for."""

    query: NDArray[np.float32]
    threshold: float
    limit: int


class Found(NamedTuple):
    """Where the rows found stand, and their float64 cosines."""

    positions: NDArray[np.intp]
    similarities: NDArray[np.float64]


class Table(NamedTuple):
    """What the bounds of a block's rows come from, under some axes.

    Heads stand in columns, piece by piece, so that one product reads them in order; tails stand in lines, to
    be picked. Shapes (pieces, head width, piece rows) and (rows, tail width), float32. Zeros stand for rows
    not in use: a product over them must not meet a NaN.
    """

    axes: Axes
    heads: NDArray[np.float32]
    tails: NDArray[np.float32]


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

    def shadow(self, piece: int, axes: Axes, used: int) -> None:
        """Give the first ``used`` rows of a piece their bounds under these axes."""
        start = piece * self.piece_rows
        head, tail = axes.split(axes.table(self.rows[start : start + used]))
        if self._newest is None or self._newest.axes is not axes:
            heads = np.zeros((len(self.tables), head.shape[1], self.piece_rows), np.float32)
            self._newest = Table(axes, heads, np.zeros((len(self.rows), tail.shape[1]), np.float32))
        self._newest.heads[piece, :, :used] = head.T
        self._newest.tails[start : start + used] = tail
        self.tables[piece] = self._newest

    def unshadow(self) -> None:
        """Forget all bounds."""
        self.tables = [None] * len(self.tables)
        self._newest = None

    def write(self, slot: int, row: NDArray[np.float32]) -> None:
        """Set one row and its bounds."""
        self.rows[slot] = row
        piece, at = divmod(slot, self.piece_rows)
        table = self.tables[piece]
        if table is not None:
            table.heads[piece, :, at], table.tails[slot] = table.axes.split(table.axes.table_row(row))


class _Finder:
    """The rows found so far and the bar that further ones must reach."""

    __slots__ = ("_known", "bar", "limit", "positions", "query", "similarities", "slack")

    def __init__(self, query: NDArray[np.float32], threshold: float, limit: int) -> None:
        self.query = query
        self.bar = threshold
        self.limit = limit
        self.slack = (query.size + 4) * 2.0**-23
        self.positions = _NOWHERE
        self.similarities = _NOTHING
        self._known: dict[Axes, tuple[NDArray[np.float32], NDArray[np.float32]] | None] = {}

    def weights(self, axes: Axes) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return what to multiply a table under these axes with, or None where bounds would not pay."""
        if axes not in self._known:
            head = axes.head_at(self.bar)
            self._known[axes] = axes.weights(self.query, head) if head else None
        return self._known[axes]

    def score(self, blocks: Sequence[Block], positions: NDArray[np.intp]) -> None:
        """Score rows at ascending positions; keep those that reach the bar, and raise it."""
        step = max(1, _PIECE_ELEMENTS // self.query.size)
        for start in range(0, len(positions), step):
            chunk = positions[start : start + step]
            rows = gathered(blocks, chunk)
            if len(chunk) > _FEW_ROWS:
                near = np.flatnonzero(rows @ self.query >= self.bar - self.slack)
                if not len(near):
                    continue
                chunk, rows = chunk[near], rows[near]
            self._keep(chunk, _exact(rows, self.query))

    def _keep(self, positions: NDArray[np.intp], similarities: NDArray[np.float64]) -> None:
        reached = similarities >= self.bar
        positions, similarities = positions[reached], similarities[reached]
        if len(self.positions):
            positions = np.concatenate((self.positions, positions))
            similarities = np.concatenate((self.similarities, similarities))
        if len(positions) > self.limit:
            self.bar = float(np.partition(similarities, -self.limit)[-self.limit])
            reached = similarities >= self.bar
            positions, similarities = positions[reached], similarities[reached]
        self.positions, self.similarities = positions, similarities


def scan(blocks: Sequence[Block], count: int, asked: Asked) -> Found:
    """Find the best rows at or above a threshold.

    Args:
        blocks: the rows, all blocks but the last full.
        count: how many rows are in use.
        asked: the query, float32, contiguous, shape (dim,), unit length; the least cosine wanted; and how
            many rows are wanted. Rows equal to the last of them are all returned.

    Returns:
        Positions and float64 cosines of the rows found, in no order.
    """
    if not count:
        return Found(_NOWHERE, _NOTHING)
    query, threshold, limit = asked
    pruning = count * query.size >= _PRUNE_FROM_ELEMENTS
    if not pruning and len(blocks) == 1:
        return _plain(blocks, count, asked)
    finder = _Finder(query, threshold, limit)
    size, piece_rows = len(blocks[0].rows), blocks[0].piece_rows
    buffer = np.empty(-(-min(count, size) // piece_rows) * piece_rows, np.float32)
    left: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
    for number, block in enumerate(blocks):
        start = number * size
        upper = buffer[: min(count - start, size)]
        kept, bound = _pruned(block, buffer, len(upper), finder) if pruning else (None, upper)
        if kept is None:
            np.dot(block.rows[: len(upper)], query, out=upper)
            kept = (upper >= threshold - finder.slack).nonzero()[0]
            bound = upper[kept] + np.float32(finder.slack)
        if len(kept):
            left.append((kept + start, bound))
    if len(left) == 1:
        _settle(blocks, *left[0], finder)
    elif left:
        _settle(
            blocks,
            np.concatenate([kept for kept, _ in left]),
            np.concatenate([upper for _, upper in left]),
            finder,
        )
    return Found(finder.positions, finder.similarities)


def _plain(blocks: Sequence[Block], count: int, asked: Asked) -> Found:
    """Scan a single block, small enough that whatever spares rows would cost more than it saves."""
    finder = _Finder(*asked)
    near = (blocks[0].rows[:count] @ asked.query >= asked.threshold - finder.slack).nonzero()[0]
    if len(near):
        finder.score(blocks, near)
    return Found(finder.positions, finder.similarities)


def _pruned(
    block: Block, buffer: NDArray[np.float32], used: int, finder: _Finder
) -> tuple[NDArray[np.intp] | None, NDArray[np.float32]]:
    """Return the rows of a block that bounds leave, and their bounds; None where bounds do not pay."""
    size = block.piece_rows
    # Few calls over many pieces: each gives up the interpreter, which a busy thread then keeps for 5 ms.
    runs: list[tuple[int, int, Table | None]] = []
    for piece, table in enumerate(block.tables[: -(-used // size)]):
        if runs and runs[-1][2] is table:
            runs[-1] = (runs[-1][0], piece + 1, table)
        else:
            runs.append((piece, piece + 1, table))
    upper = buffer[:used]
    weighted = [(start, end, table, finder.weights(table.axes) if table else None) for start, end, table in runs]
    if not any(weights for *_, weights in weighted):
        return None, upper
    for start, end, table, weights in weighted:
        if table is None or weights is None:
            out = upper[start * size : end * size]
            np.dot(block.rows[start * size :][: len(out)], finder.query, out=out)
            out += finder.slack
        else:
            columns = table.heads[start:end, : len(weights[0])]
            np.matmul(weights[0], columns, out=buffer[start * size : end * size].reshape(-1, size))
    kept = (upper >= finder.bar - SLACK).nonzero()[0]
    if len(kept) > _WORST_HEAD_SHARE * used:
        return None, upper
    bound = upper[kept]
    if len(kept) > _FIRST_SCORED:
        for start, end, table, weights in weighted:
            if table is not None and weights is not None:
                of_run = slice(*np.searchsorted(kept, (start * size, end * size)).tolist())
                bound[of_run] += table.tails.take(kept[of_run], axis=0) @ weights[1]
        still = (bound >= finder.bar - SLACK).nonzero()[0]
        kept, bound = kept[still], bound[still]
    if len(kept) > _WORST_SHARE * used:
        return None, upper
    return kept, bound + np.float32(SLACK)


def _settle(blocks: Sequence[Block], positions: NDArray[np.intp], uppers: NDArray[np.float32], finder: _Finder) -> None:
    first = max(_FIRST_SCORED, finder.limit)
    if len(positions) > 2 * first:
        # The best bounds first: they raise the bar and spare most of the others.
        split = len(positions) - first
        order = np.argpartition(uppers, split)
        finder.score(blocks, np.sort(positions[order[split:]]))
        rest = np.sort(order[:split])
        positions = positions[rest[uppers[rest] >= finder.bar]]
    finder.score(blocks, positions)


def exact_similarities(
    blocks: Sequence[Block], positions: NDArray[np.intp], query: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the float64 cosines of the rows at ascending positions."""
    return _exact(gathered(blocks, positions), query)


def _exact(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    # A sum along rows, not a BLAS product: equal rows get equal sums whatever stands beside them.
    wide = query.astype(np.float64)
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
