"""Processes that use one SQLite file and are killed in the middle of it, and what the file holds afterwards."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from recallm import SQLiteStorage
from recallm.records import Entry
from recallm.testing import FakeEmbedder

KEYS = 12
TIMEOUT = 20.0
"""Seconds that an operation may wait for others: here it is not late, but wrong, if it fails."""

EMBEDDER = FakeEmbedder(dim=32)
State = dict[str, int | None]
"""The number that was last stored under each key; None: it was removed."""


@dataclass(slots=True)
class Killed:
    """What came of killing processes."""

    kills: int = 0
    operations: int = 0
    problems: list[str] = field(default_factory=list)


def entry(namespace: str, key: str, number: int) -> Entry:
    """Return the entry of a key with a number as its answer."""
    prompt = f"words for {key}"
    return Entry(f"{namespace}/{key}", namespace, "p", prompt, EMBEDDER.embed(prompt), str(number).encode() * 200)


def work(path: Path, journal: Path, seed: int) -> None:
    """Store, remove and invalidate, in a namespace of its own and in one for all, until killed.

    Each operation in the own namespace is written into the journal before it begins, and again after it has returned.
    """
    chance = random.Random()  # noqa: S311  # a test's choice of what to do next
    storage = SQLiteStorage(path, timeout=TIMEOUT, max_entries=10_000)
    with journal.open("ab", buffering=0) as log:
        for number in count(time.time_ns()):
            key = f"k{chance.randrange(KEYS)}"
            action = chance.choices(("put", "remove", "invalidate"), (80, 17, 3))[0]
            log.write(f"{action} {key} {number}\n".encode())
            _act(storage, action, entry(f"own {seed}", key, number))
            log.write(b"done\n")
            _act(storage, chance.choices(("put", "remove", "invalidate"), (80, 19, 1))[0], entry("all", key, number))
            vector = entry("all", key, 0).vector
            assert vector is not None
            assert all(
                found.entry.prompt == f"words for {key}" for found in storage.search("all", "p", vector, 0.99, 4)
            )


def _act(storage: SQLiteStorage, action: str, one: Entry) -> None:
    if action == "put":
        storage.put(one, storage.recall(one.namespace, one.key).epoch, None)
    elif action == "remove":
        storage.remove(one.namespace, [one.key])
    else:
        storage.invalidate(one.namespace)


def told(journal: Path) -> tuple[State, State | None, int]:
    """Return what the file must hold by a journal, what it may hold instead, and how many operations were acknowledged.

    The last operation may have come through without an acknowledgement.
    """
    state: State = {f"k{number}": None for number in range(KEYS)}
    pending: State | None = None
    done = 0
    for line in filter(None, journal.read_text().splitlines()):
        action, *rest = line.split()
        if action == "done":
            state, pending, done = pending or state, None, done + 1
        elif action == "found":
            state, pending = {name: int(each) or None for name, each in zip(state, rest, strict=True)}, None
        else:
            key, number = rest
            changes: dict[str, State] = {"put": {key: int(number)}, "remove": {key: None}}
            pending = {**state, **changes.get(action, dict.fromkeys(state))}
    return state, pending, done


def held(storage: SQLiteStorage, namespace: str, problems: list[str]) -> State:
    """Return what the file holds, and note what a search finds that a look-up does not, or the other way round."""
    state: State = {}
    for number in range(KEYS):
        key = f"k{number}"
        found = storage.recall(namespace, entry(namespace, key, 0).key).candidate
        payload = None if found is None else found.entry.payload
        state[key] = None if payload is None else int(payload[: len(payload) // 200])
        if payload is not None and entry(namespace, key, state[key] or 0).payload != payload:
            problems.append(f"{namespace}: the answer of {key} is torn")
    vector = EMBEDDER.embed("any")
    similar = {each.entry.key for each in storage.search(namespace, "p", vector, -1.0, None)}
    if similar != {f"{namespace}/{key}" for key, number in state.items() if number is not None}:
        problems.append(f"{namespace}: a search finds {sorted(similar)}, look-ups {state}")
    return state


def is_sound(path: Path) -> str:
    """Return "ok", or what SQLite finds damaged in a file."""
    with closing(sqlite3.connect(path, timeout=TIMEOUT)) as connection:
        return "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check"))


class Workers:
    """Processes at work on one file.

    Args:
        folder: where the file and the journals are.
        processes: how many.
    """

    def __init__(self, folder: Path, processes: int) -> None:
        self.path = folder / "answers.db"
        self.folder = folder
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["recallm.storage.sqlite.storage", "recallm.testing", "recallm.scoring"])
        self.processes: list[Any] = [self._start(seed) for seed in range(processes)]

    def journal(self, seed: int) -> Path:
        """Return the journal of one process."""
        return self.folder / f"journal {seed}"

    def _start(self, seed: int) -> Any:
        process = self._context.Process(target=work, args=(self.path, self.journal(seed), seed), daemon=True)
        process.start()
        return process

    def until_busy(self) -> None:
        """Wait until each process does something."""
        give_up = time.monotonic() + 60
        sizes = [self._size(seed) for seed in range(len(self.processes))]
        for seed, size in enumerate(sizes):
            while self._size(seed) < size + 200:
                assert time.monotonic() < give_up, "a process does nothing"
                assert self.processes[seed].is_alive(), "a process has ended"
                time.sleep(0.01)

    def _size(self, seed: int) -> int:
        journal = self.journal(seed)
        return journal.stat().st_size if journal.exists() else 0

    def kill(self, seeds: list[int]) -> None:
        """Kill processes at once."""
        for seed in seeds:
            with suppress(ProcessLookupError):
                os.kill(self.processes[seed].pid, signal.SIGKILL)
        for seed in seeds:
            self.processes[seed].join()

    def restart(self, seeds: list[int]) -> None:
        """Start killed processes again."""
        for seed in seeds:
            self.processes[seed] = self._start(seed)


def kill_again_and_again(folder: Path, *, kills: int, processes: int = 4) -> Iterator[Killed]:
    """Kill one process of several, now and then all of them, and check after each time what the file holds.

    Args:
        folder: an empty folder.
        kills: how many processes to kill.
        processes: how many are at work at a time.

    Yields:
        What came of it so far.
    """
    workers, chance = Workers(folder, processes), random.Random(1)  # noqa: S311  # a test's choice of what to do next
    killed = Killed()
    try:
        for turn in count(1):
            workers.until_busy()
            time.sleep(chance.random() * 0.05)
            seeds = list(range(processes)) if turn % 8 == 0 else [chance.randrange(processes)]
            workers.kill(seeds)
            killed.kills += len(seeds)
            sound = is_sound(workers.path)
            if sound != "ok":
                killed.problems.append(f"the file is damaged: {sound}")
            checking = SQLiteStorage(workers.path, timeout=TIMEOUT)
            for seed in seeds:
                _check(checking, workers.journal(seed), f"own {seed}", killed)
            checking.close()
            yield killed
            if killed.kills >= kills:
                break
            workers.restart(seeds)
    finally:
        workers.kill(list(range(processes)))
    killed.operations = sum(told(workers.journal(seed))[2] for seed in range(processes))


def _check(storage: SQLiteStorage, journal: Path, namespace: str, killed: Killed) -> None:
    """Note what a killed process's namespace holds that it must not, and what it lacks."""
    must, may, _ = told(journal)
    found = held(storage, namespace, killed.problems)
    if found not in (must, may):
        killed.problems.append(f"{namespace}: {found} is there; it must be {must}, or {may}")
    with journal.open("ab") as log:
        log.write(f"\nfound {' '.join(str(number or 0) for number in found.values())}\n".encode())
