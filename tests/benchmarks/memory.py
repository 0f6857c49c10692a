"""What an entry of the in-process storage takes in memory, and where that goes.

Run with ``python tests/benchmarks/memory.py``. Keys are digests as calls make them, answers are English text, and
vectors are clustered, with a decaying spectrum. For each size a process of its own says what is resident, and another
one what Python's allocators gave to whom. The embedder and the calls are left out: what they keep is bounded.
"""

from __future__ import annotations

import argparse
import gc
import linecache
import os
import random
import subprocess
import sys
import tracemalloc
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recallm import InMemoryStorage
from recallm.codec.codec import Codec
from recallm.records import Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIM = 384
PARTITION = blake2b(b"function and context", digest_size=20).hexdigest()
WARM = 4_096
"""How many entries are there before: the index then has its first block, and has learnt its axes."""


def text(size: int, chance: random.Random, words: list[str]) -> str:
    """Return an English text of so many characters."""
    drawn: list[str] = []
    length = 0
    while length < size:
        drawn.append(chance.choice(words))
        length += len(drawn[-1]) + 1
    return " ".join(drawn)[:size]


class Source:
    """Makes entries."""

    def __init__(self, answer: int) -> None:
        self.answer = answer
        self.chance = random.Random(0)  # noqa: S311
        self.rng = np.random.default_rng(0)
        self.scales = (1.0 + np.arange(DIM) / 12.0) ** -1.0
        self.centres = self.rng.standard_normal((2_000, DIM))
        self.codec = Codec()
        self.words = Path(__file__).parents[2].joinpath("README.md").read_text("utf-8").split()
        self.made = 0

    def entry(self) -> Entry:
        """Return another entry, all of whose parts are its own."""
        self.made += 1
        seconds, partition = 0.5 + self.made, str(PARTITION.encode(), "ascii")  # a text of its own, as each call makes
        key, prompt = self.key(), self.prompt()
        return Entry(key, "support", partition, prompt, self.vector(), self.payload(), seconds)

    def vector(self) -> NDArray[np.float32]:
        """Return a unit vector near others."""
        noise = 0.4 * self.rng.standard_normal(DIM)
        row = ((self.rng.choice(self.centres) + noise) * self.scales).astype(np.float32)
        unit: NDArray[np.float32] = row / np.float32(np.linalg.norm(row))
        return unit

    def key(self) -> str:
        """Return a digest."""
        return blake2b(self.made.to_bytes(8), digest_size=20).hexdigest()

    def prompt(self) -> str:
        """Return a prompt of some fifty characters."""
        return f"How do I reset the password of account {self.made:,}?"

    def payload(self) -> bytes:
        """Return an answer, encoded."""
        return self.codec.encode(text(self.answer, self.chance, self.words))


def resident() -> int:
    """Return the bytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(entries: int, answer: int, *, bounded: bool, traced: bool) -> None:
    """Fill a storage and print what that took."""
    storage = InMemoryStorage(max_entries=10 * entries if bounded else None)
    source = Source(answer)
    epoch = storage.recall("support", "").epoch
    for _ in range(WARM):
        storage.put(source.entry(), epoch, None)
    gc.collect()
    before = resident()
    if traced:
        tracemalloc.start()
    for _ in range(entries):
        storage.put(source.entry(), epoch, None)
    gc.collect()
    if not traced:
        kind = "bounded" if bounded else "unbounded"
        taken = (resident() - before) / entries
        print(f"answers of {answer:,} characters, {kind}: {taken:,.0f} resident bytes an entry", flush=True)
        return
    for line in tracemalloc.take_snapshot().statistics("lineno"):
        place = line.traceback[0]
        # The rooms of an index are address space that becomes resident as it fills; they are counted by their rows.
        if 1 <= line.size / entries < DIM * 4 and "scan.py" not in place.filename:
            code = linecache.getline(place.filename, place.lineno).strip()
            print(f"{line.size / entries:>12,.0f}  {Path(place.filename).name}: {code}")
    block = storage._namespaces["support"].shelves[PARTITION, DIM].vectors._blocks[0]
    tables = [table for table in block.tables if table is not None]
    bounds = max(4 * table.heads.shape[1] + table.tails.itemsize * table.tails.shape[1] for table in tables)
    print(f"{DIM * 4:>12,}  the vector\n{bounds:>12,}  its bounds", flush=True)


def main() -> None:
    """Print the table of each size of answers, with a bound on the number of entries and without."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=40_000)
    parser.add_argument("--answers", type=int, nargs="+", default=[512, 4_096, 16_384])
    parser.add_argument("--only", help="of one process: the kind of storage, and whether to trace")
    options = parser.parse_args()
    if options.only:
        measure(options.entries, *options.answers, bounded="bounded" in options.only, traced="traced" in options.only)
        return
    for answer in options.answers:
        for only in ("plain", "bounded", "traced"):
            size = ["--entries", str(options.entries), "--answers", str(answer)]
            subprocess.run([sys.executable, __file__, "--only", only, *size], check=True)


if __name__ == "__main__":
    main()
