"""Searches in a vector index are exact while others write to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.exact_search import ROUNDING, assert_exact, brute
from support.unit_rows import clustered_rows

from recallm.storage.index.vector_index import VectorIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Interrupted:
    """A lock that lets a writer in between the two times that a reader takes it.

    Args:
        late: whether the writer comes after the reader has scored, just before it takes the lock again.
    """

    def __init__(self, *, late: bool) -> None:
        self.writer: Callable[[], object] | None = None
        self._late = late
        self._released = False

    def __enter__(self) -> None:
        if self._late and self._released:
            self._let_in()

    def __exit__(self, *_: object) -> None:
        self._released = self.writer is not None
        if not self._late:
            self._let_in()

    def _let_in(self) -> None:
        writer, self.writer = self.writer, None
        if writer is not None:
            writer()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 1_000])
@pytest.mark.parametrize("writes", [0, 1, 5, 200])
@pytest.mark.parametrize("threshold", [-1.0, 0.7])
@pytest.mark.usefixtures("small")
def test_an_answer_is_exact_for_the_moment_it_is_given(threshold: float, writes: int, limit: int, late: bool) -> None:
    """What is put and removed while a search scores counts, be it as much as the journal holds or more."""
    rng = np.random.default_rng(17)
    rows, others = clustered_rows(rng, 500, 48), clustered_rows(rng, 300, 48)
    lock = Interrupted(late=late)
    index, model = VectorIndex(48, lock=lock), dict[str, "NDArray[np.float32]"]()

    def put(key: str, row: NDArray[np.float32]) -> None:
        index.put(key, row)
        model[key] = row

    def discard(key: str) -> None:
        assert index.discard(key) == (model.pop(key, None) is not None)

    def write() -> None:
        discard("499")
        for number in range(writes):
            put(str(number + 1), rows[0] if number % 2 else others[number])
            put(f"new {number}", others[-number])
            discard(str(400 + number % 100))
            # The best row that the search may have found.
            discard("0")

    for number, row in enumerate(rows):
        put(str(number), row)
    lock.writer = write
    found = index.search(rows[0], threshold, limit=limit)
    assert_exact(found, brute(model, rows[0]), threshold, limit)


class Crowd:
    """Readers and a writer of one index, which holds standing rows, and others that come and go.

    Args:
        standing: rows that are put again and again, and never removed.
        moving: rows that are removed and put again.
    """

    def __init__(self, standing: NDArray[np.float32], moving: NDArray[np.float32]) -> None:
        self.standing, self.moving = standing, moving
        self.vectors = {f"s{n}": row for n, row in enumerate(standing)} | {f"m{n}": row for n, row in enumerate(moving)}
        self.index = VectorIndex(standing.shape[1])
        for key, row in self.vectors.items():
            self.index.put(key, row)
        self.failures: list[str] = []
        self.searched = [0] * 3
        self.done = threading.Event()

    def read(self, seed: int) -> None:
        """Search until the writer is done, and note what is wrong."""
        rng = np.random.default_rng(seed)
        try:
            while not self.done.is_set():
                self.search(int(rng.integers(0, len(self.standing))), float(rng.choice([0.7, 0.85, 0.99])))
                self.searched[seed] += 1
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            self.failures.append(repr(error))

    def search(self, number: int, threshold: float) -> None:
        """Search for a standing row, and note it if it is missing, and every cosine that is not true."""
        query = self.standing[number]
        found = self.index.search(query, threshold, limit=400)
        if f"s{number}" not in dict(found):
            self.failures.append(f"s{number} is missing at {threshold}")
        for key, similarity in found:
            true = float(self.vectors[key].astype(np.float64) @ query.astype(np.float64))
            if abs(true - similarity) > ROUNDING or similarity < threshold:
                self.failures.append(f"{key} has {similarity}, not {true}")

    def write(self, steps: int) -> None:
        """Remove and put moving rows, and put standing ones again."""
        rng = np.random.default_rng(99)
        for _ in range(steps):
            number = int(rng.integers(0, len(self.moving)))
            if not self.index.discard(f"m{number}") or rng.random() < 0.5:
                self.index.put(f"m{number}", self.moving[number])
            if rng.random() < 0.2:
                again = int(rng.integers(0, len(self.standing)))
                self.index.put(f"s{again}", self.standing[again])
        self.done.set()


@pytest.mark.usefixtures("small", "restless")
def test_readers_never_see_a_wrong_row_while_writers_move_them() -> None:
    """Under deletes, replacements and appends, each answer holds every standing row and true cosines only."""
    rng = np.random.default_rng(13)
    crowd = Crowd(clustered_rows(rng, 600, 384), clustered_rows(rng, 400, 384))
    threads = [threading.Thread(target=crowd.read, args=(seed,)) for seed in range(3)]
    threads.append(threading.Thread(target=crowd.write, args=(6_000,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert crowd.failures == []
    assert min(crowd.searched) > 0
