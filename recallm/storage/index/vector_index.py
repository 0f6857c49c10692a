"""The exact vector index: every row at or above a threshold, found without scoring most of them."""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import isnan
from sys import maxsize
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from recallm.errors import BusyError, InvalidValueError, OddVectorError
from recallm.storage.index.bounds import HELD_OUT, learn_axes
from recallm.storage.index.positions import Positions
from recallm.storage.index.scan import (
    Block,
    SearchRequest,
    SearchResult,
    exact_similarities,
    gathered,
    room_for_rows,
    scan,
    zeros,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import ArrayLike, NDArray

    from recallm.storage.index.bounds import Axes

NORM_TOLERANCE = 1e-3
"""How far a vector's squared norm may be from 1."""

_PIECE_ROWS = 1024
_PIECE_ELEMENTS = 1 << 19
"""How many rows get their bounds at a time, and how many numbers: a slice of some milliseconds."""

_BLOCK_PIECES = 64
_FIRST_ROWS = 1

_SCORED_UNDER_LOCK = 256
"""Up to how many rows are scored while the lock is held: for less than 20 microseconds at 384 dimensions."""

_JOURNAL = 4096
"""How many writes during a search cost it only the scoring of the rows written; after more it begins anew."""

_LEARN_ROWS = 1024
_LEARN_ELEMENTS = 400_000
"""How many rows, and how many numbers, there must be before axes are learnt."""

_SAMPLE_ROWS = 2304
"""How many rows axes are learnt from."""

_GATHERED_ROWS = 512
"""How many of these rows are copied at a time."""

_GONE: Any = None
"""Stands for the key of a row that is being taken out."""

_LEARNT_FOR = 0.85
"""The threshold that axes are chosen for: that of the loosest profile.

They serve other thresholds, too. Among 30,000 prompts in 384 dimensions searches at 0.7 took 0.6 ms with them, and
0.3 ms with axes chosen for 0.7, whose tables take three quarters more memory.
"""


def unit_row(vector: ArrayLike, dim: int | None = None) -> NDArray[np.float32]:
    """Return a vector as a row of an index.

    Args:
        vector: unit length, shape (n,), n at least 1; any layout, converted to float32.
        dim: the length that it must have; None: any.

    Raises:
        OddVectorError: the vector has another shape, is not finite, or is not of unit length.
    """
    row = np.ascontiguousarray(vector, dtype=np.float32)
    if row.ndim != 1 or (row.size != dim if dim is not None else not row.size):
        fitting = "any index" if dim is None else f"an index of dimension {dim}"
        raise OddVectorError(f"a vector of shape {row.shape!r} does not fit {fitting}")
    squared = float(row.dot(row))  # half the time of `@`
    # Written so that NaN fails it as well.
    if not abs(squared - 1.0) <= NORM_TOLERANCE:
        raise OddVectorError(f"a vector has squared norm {squared!r}; divide it by its norm before indexing it")
    return row


class VectorIndex:
    """Exact thresholded nearest neighbours among unit float32 vectors, keyed by strings.

    Unlike a graph or a quantised index it never misses a row, and unlike a matrix product it does not read most of
    the vectors. From 400,000 numbers on (1,042 rows of 384), every piece of up to 1,024 rows also keeps their
    coordinates on a few leading principal axes (`recallm.storage.index.bounds`), and only rows whose Cauchy-Schwarz
    bound reaches the threshold are scored. If bounds would not pay (small partitions, few dimensions, low thresholds,
    no leading axes) a plain product answers.

    Exactness. Vectors are finite float32 with a squared norm within 1e-3 of 1. A product of two float32
    values is exact in float64, so a reported similarity is the dot of the stored float32 rows up to float64
    summation (below 1e-13), the same for equal rows wherever they are stored, and it alone is compared with
    the threshold. Two float32 sieves go before it, each with slack on the safe side: a bound is trusted only
    to `bounds.SLACK` (4e-5; 9e-4 of all axes; derived in `bounds.Axes`), a float32 dot of ``dim`` terms only to
    ``(dim + 4) * 2**-23``, over twice the worst case ``dim * 2**-24 * |q| |x|`` of any order of summation. So
    no row at or above the threshold is passed over.

    Threads. A short lock guards writers. Readers take the list of blocks and a version under it, score
    without it, and take it again to name the rows they found: rows written meanwhile stand in a journal and are
    scored again, so an answer is exact for the moment it is given. Up to 256 rows are scored under the lock.

    Interruptions. A row lives while the list of keys names it, and names it no earlier. A change writes a row only
    where none lives, unless it replaces the row. So a change that an exception of a signal handler cuts short has
    happened or has not, and leaves at most dead rows and wrong positions, which the next operation puts right. What
    a signal handler or a finalizer asks of the index while its thread holds the lock is refused; who shares a lock
    must refuse it.

    Memory. A row takes ``4 * dim`` bytes, its key and about 30 bytes of tables, and once axes are learnt 88
    to 448 bytes of bounds (174 usually, 11 % at 384 dimensions). Room for rows doubles from 1 to 1,024 and
    halves again; beyond, it comes in blocks of 65,536 rows of address space, resident only as they fill. An
    empty index takes 0.5 kB, one of 1 row of 384 dimensions 2.5 kB, one of 2 rows 4 kB, one of 5 rows 13 kB.

    Learning goes on inside `put`, a slice of a few milliseconds at a time, each time the rows have been
    written about three times over; there is no thread to stop, fork or wait for.

    Args:
        dim: length of every vector, at least 1.
        lock: guards writers; what is written together may share one. None: a lock of its own.

    Raises:
        InvalidValueError: ``dim`` is not a positive integer.

    Example:
        >>> import numpy as np
        >>> index = VectorIndex(2)
        >>> index.put("east", np.array([1, 0], np.float32))
        >>> index.put("north", np.array([0, 1], np.float32))
        >>> index.search(np.array([1, 0], np.float32), 0.9)
        [('east', 1.0)]
    """

    __slots__ = (
        "_axes", "_block_rows", "_blocks", "_chore", "_is_changing", "_is_shared", "_journal", "_keys", "_lock",
        "_piece_rows", "_positions", "_until_learning", "_version", "dim",
    )  # fmt: skip

    dim: int

    def __init__(self, dim: int, *, lock: AbstractContextManager[object] | None = None) -> None:
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise InvalidValueError(f"dim={dim!r}; it must be a positive integer, the length of the embeddings")
        self.dim = dim
        self._lock: Any = RLock() if lock is None else lock
        self._is_shared = lock is not None
        self._keys: list[str] = []
        self._positions = Positions(self._keys)
        self._is_changing = False  # if it is when an operation begins, the last one was cut short
        self._blocks: list[Block] = []
        # Pieces of wide vectors hold fewer rows, so that giving one its bounds stays a slice of some
        # milliseconds.
        self._piece_rows = min(_PIECE_ROWS, 1 << max(4, (_PIECE_ELEMENTS // dim).bit_length() - 1))
        self._block_rows = _BLOCK_PIECES * self._piece_rows
        self._journal: deque[int] | None = None
        self._version = 0
        self._axes: Axes | None = None
        self._chore: Iterator[None] | None = None
        self._until_learning = max(_LEARN_ROWS, _LEARN_ELEMENTS // dim)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._keys)

    def put(self, key: str, vector: NDArray[np.float32]) -> None:
        """Append a row, or replace the row of this key.

        Args:
            key: the row's name.
            vector: unit length, shape (dim,); any layout, converted to float32.

        Raises:
            OddVectorError: the vector has another shape, is not finite, or is not of unit length.
            BusyError: this thread is in the middle of another operation.
        """
        row = unit_row(vector, self.dim)
        if not self._is_shared:
            self._refuse_within()
        with self._lock:
            if self._is_changing:
                self._tidy()
            position = self._positions.find(key)
            if position is None:
                position = len(self._keys)
                self._make_room(position)
                self._write(position, row)
                self._is_changing = True
                self._keys.append(key)
                self._positions.add(position)
                self._is_changing = False
            else:
                self._write(position, row)
            self._learn_a_little()

    def discard(self, key: str) -> bool:
        """Remove the row of this key; the last row takes its place.

        Args:
            key: the row's name.

        Returns:
            True if there was such a row.

        Raises:
            BusyError: this thread is in the middle of another operation.
        """
        if not self._is_shared:
            self._refuse_within()
        with self._lock:
            if self._is_changing:
                self._tidy()
            hole = self._positions.find(key)
            if hole is None:
                return False
            self._is_changing = True
            self._positions.drop(hole)
            if hole != len(self._keys) - 1:
                self._positions.move(len(self._keys) - 1, hole)
            self._close(hole)
            self._is_changing = False
            return True

    def vector(self, key: str) -> NDArray[np.float32] | None:
        """Return a copy of the row of a key, shape (dim,), or None if there is none.

        Raises:
            BusyError: this thread is in the middle of another operation.
        """
        if not self._is_shared:
            self._refuse_within()
        with self._lock:
            if self._is_changing:
                self._tidy()
            position = self._positions.find(key)
            if position is None:
                return None
            number, slot = divmod(position, self._block_rows)
            row: NDArray[np.float32] = self._blocks[number].rows[slot].copy()
            return row

    def search(self, vector: ArrayLike, threshold: float, *, limit: int | None = 16) -> list[tuple[str, float]]:
        """Return the best rows at or above a threshold.

        Args:
            vector: unit length, shape (dim,); any layout, converted to float32.
            threshold: the least cosine wanted, -1 to 1. Near -1, as to explain a miss, every row is scored.
            limit: how many rows at most, at least 1; None: all.

        Returns:
            Keys and float64 cosines, best first, equal cosines in the order of their keys.

        Raises:
            OddVectorError: the vector is not a unit vector of shape (dim,).
            InvalidValueError: the threshold is NaN, or the limit below 1.
            BusyError: this thread is in the middle of another operation.
        """
        if isnan(threshold):
            raise InvalidValueError(f"threshold={threshold!r}; it must be a cosine between -1 and 1")
        if limit is not None and limit < 1:
            raise InvalidValueError(f"limit={limit!r}; it must be at least 1, or None for all")
        request = SearchRequest(unit_row(vector, self.dim), float(threshold), maxsize if limit is None else limit)
        if not self._is_shared:
            self._refuse_within()
        with self._lock:
            if self._is_changing:
                self._tidy()
            if len(self._keys) <= _SCORED_UNDER_LOCK:
                return self._named(self._scan_now(request), request.limit)
            blocks, count, seen = tuple(self._blocks), len(self._keys), self._version
        found = scan(blocks, count, request)
        with self._lock:
            if self._is_changing:
                self._tidy()
            if self._version != seen:
                found = self._brought_up_to_date(found, request, self._version - seen)
            return self._named(found, request.limit)

    def _refuse_within(self) -> None:
        if self._lock._is_owned():
            raise BusyError("this thread is in the middle of another operation on the index")

    def _tidy(self) -> None:
        """Take out the rows that a change left behind when it was cut short, and find the others anew."""
        first = {key: position for position, key in reversed(list(enumerate(self._keys)))}
        for position in reversed(range(len(self._keys))):
            if self._keys[position] is _GONE or first[self._keys[position]] != position:
                self._close(position)
        self._positions.renew()
        self._is_changing = False

    def _close(self, hole: int) -> None:
        """Take out a row; the last row takes its place."""
        last = len(self._keys) - 1
        self._keys[hole] = _GONE
        if hole != last:
            key = self._keys[last]
            source, slot = divmod(last, self._block_rows)
            self._write(hole, self._blocks[source].rows[slot])
            self._keys[hole] = key
        self._note(last)
        self._keys.pop()
        self._give_back(last)

    def _brought_up_to_date(self, found: SearchResult, request: SearchRequest, changes: int) -> SearchResult:
        journal = self._journal
        if journal is None or changes > len(journal):
            return self._scan_now(request)
        touched = np.unique(np.fromiter(islice(reversed(journal), changes), np.intp, changes))
        kept = ~np.isin(found.positions, touched)
        # A full answer raised the cutoff: with one of its rows gone, rows below that cutoff may belong in it.
        if len(kept) >= request.limit and not kept.all():
            return self._scan_now(request)
        touched = touched[touched < len(self._keys)]
        anew = exact_similarities(self._blocks, touched, request.query)
        above = anew >= request.threshold
        return SearchResult(
            np.concatenate((found.positions[kept], touched[above])),
            np.concatenate((found.similarities[kept], anew[above])),
        )

    def _scan_now(self, request: SearchRequest) -> SearchResult:
        return scan(self._blocks, len(self._keys), request)

    def _named(self, found: SearchResult, limit: int) -> list[tuple[str, float]]:
        if not len(found.positions):
            return []
        keys = map(self._keys.__getitem__, found.positions.tolist())
        named = list(zip(keys, found.similarities.tolist(), strict=True))
        if len(named) > 1:
            named.sort(key=lambda row: (-row[1], row[0]))
        return named[:limit]

    def _make_room(self, position: int) -> None:
        if position == len(self._blocks) * self._block_rows:
            capacity = self._block_rows if position else _FIRST_ROWS
            self._blocks.append(Block(room_for_rows(capacity, self.dim), self._piece_rows))
        elif len(self._blocks) == 1 and position == len(self._blocks[0].rows):
            self._resize_first(2 * position if position < self._piece_rows else self._block_rows)
        if self._axes is not None and position % self._piece_rows == 0:
            number, slot = divmod(position, self._block_rows)
            self._blocks[number].add_bounds(slot // self._piece_rows, self._axes, 0)
        if position >= _SCORED_UNDER_LOCK and self._journal is None:
            self._journal = deque(maxlen=_JOURNAL)

    def _give_back(self, count: int) -> None:
        while self._blocks and count <= (len(self._blocks) - 1) * self._block_rows:
            self._blocks.pop()
        if self._blocks and _FIRST_ROWS <= 2 * count <= min(len(self._blocks[0].rows), self._piece_rows) // 2:
            self._resize_first(2 * count)

    def _resize_first(self, capacity: int) -> None:
        old = self._blocks[0]
        kept = min(capacity, len(old.rows))
        block = Block(room_for_rows(capacity, self.dim), self._piece_rows)
        block.rows[:kept] = old.rows[:kept]
        if self._axes is not None:
            block.add_bounds(0, self._axes, kept)
        self._blocks[0] = block

    def _write(self, position: int, row: NDArray[np.float32]) -> None:
        number, slot = divmod(position, self._block_rows)
        self._note(position)
        self._blocks[number].write(slot, row)

    def _note(self, position: int) -> None:
        self._version += 1
        if self._journal is not None:
            self._journal.append(position)

    def _learn_a_little(self) -> None:
        if self._chore is not None:
            if next(self._chore, self) is self:
                self._chore = None
            return
        self._until_learning -= 1
        if self._until_learning <= 0:
            self._until_learning = 3 * len(self._keys)
            if len(self._keys) >= _LEARN_ROWS:
                self._chore = self._learning()

    def _learning(self) -> Iterator[None]:
        count = len(self._keys)
        picked = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE_ROWS)).astype(np.intp))
        blocks = self._blocks
        sample, filled = zeros(np.float32, len(picked), self.dim), 0
        apart = np.arange(len(picked)) % HELD_OUT == 0
        for part in (picked[apart], picked[~apart]):
            for start in range(0, len(part), _GATHERED_ROWS):
                some = part[start : start + _GATHERED_ROWS]
                if some[-1] >= len(self._keys):  # rows are gone since the last slice
                    self._until_learning = 0
                    return
                sample[filled : filled + len(some)] = gathered(blocks, some)
                filled += len(some)
                yield
        axes = yield from learn_axes(sample, _LEARNT_FOR)
        self._axes = axes
        piece = 0
        while (start := piece * self._piece_rows) < len(self._keys):
            block = blocks[start // self._block_rows]
            within = start % self._block_rows // self._piece_rows
            table = block.tables[within]
            if axes is None:
                block.drop_bounds()
            elif table is None or table.axes is not axes:
                block.add_bounds(within, axes, min(self._piece_rows, len(self._keys) - start))
                yield
            piece += 1
