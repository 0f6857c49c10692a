"""Processes that read, write, invalidate and remove at once on one storage, and check all that they read."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from recallm.records import Candidate, Entry
from recallm.storage.base import StorageBackend
from recallm.testing import FakeEmbedder

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

NAMESPACES = ("red", "green")
PARTITIONS = ("p", "q", "r")
PROMPTS = 60


@dataclass(frozen=True, slots=True)
class Churned:
    """What the processes did, what went wrong, and whether sizes agree with what can be recalled."""

    done: dict[str, int]
    problems: list[str]
    sizes: dict[str, int]
    recalled: dict[str, int]


class Turns(NamedTuple):
    """How often a namespace's invalidation has begun and ended, counted beside the storage in shared memory."""

    begun: Any
    ended: Any

    def begin(self) -> int:
        """Count the beginning of an invalidation, and return its number."""
        with self.begun.get_lock():
            self.begun.value += 1
            return int(self.begun.value)

    def end(self, number: int) -> None:
        """Count the end of an invalidation; others may have ended later ones already: the highest counts."""
        with self.ended.get_lock():
            self.ended.value = max(self.ended.value, number)


def entry(namespace: str, partition: str, at: int, payload: bytes) -> Entry:
    """Return one of the entries that the processes put and look for."""
    prompt = f"{partition} words for prompt {at}"
    key = f"{namespace}/{partition}/{at}"
    return Entry(key, namespace, partition, prompt, FakeEmbedder(dim=32).embed(prompt), payload)


def work(
    make: Callable[[], StorageBackend],
    turns: dict[str, Turns],
    seed: int,
    seconds: float,
    results: Queue[tuple[Counter[str], list[str]]],
) -> None:
    """Do one process's share."""
    chance = random.Random(seed)  # noqa: S311  # a test's choice of what to do next
    storage = make()
    done: Counter[str] = Counter()
    problems: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        namespace, partition = chance.choice(NAMESPACES), chance.choice(PARTITIONS)
        action = chance.choices(("read", "write", "remove", "invalidate"), (60, 34, 5, 1))[0]
        one = entry(namespace, partition, chance.randrange(PROMPTS), b"")
        try:
            _act(action, storage, turns[namespace], one, problems, chance)
            done[action] += 1
        except Exception as error:  # noqa: BLE001  # reported, whatever it is
            problems.append(f"{action}: {type(error).__name__}: {error}")
    results.put((done, problems))


def _act(
    action: str, storage: StorageBackend, turns: Turns, one: Entry, problems: list[str], chance: random.Random
) -> None:
    assert one.vector is not None
    if action == "read":
        # Invalidations ended before the look-up must have left nothing of what was stored before them.
        ended = turns.ended.value
        exact = storage.recall(one.namespace, one.key).candidate
        for candidate in [exact, *storage.search(one.namespace, one.partition, one.vector, 0.8, 16)]:
            if candidate is not None:
                problems += wrong(candidate, one, ended)
    elif action == "write":
        epoch = storage.recall(one.namespace, one.key).epoch
        begun = turns.begun.value
        time.sleep(chance.random() * 0.002)
        payload = f"{one.key} {begun}".encode()
        storage.put(entry(one.namespace, one.partition, int(one.key.rpartition("/")[2]), payload), epoch, None)
    elif action == "remove":
        storage.remove(one.namespace, [one.key])
    else:
        number = turns.begin()
        storage.invalidate(one.namespace)
        turns.end(number)


def wrong(candidate: Candidate, asked: Entry, ended: int) -> list[str]:
    """Return what is wrong with an entry that a look-up found."""
    found = candidate.entry
    key, _, begun = found.payload.decode().partition(" ")
    if (found.namespace, found.partition) != (asked.namespace, asked.partition) or key != found.key:
        return [f"{asked.key} found {found.key} in {found.namespace}/{found.partition}"]
    # It was stored under an epoch read before `begun` was: at the latest then, invalidation number `begun` had begun.
    if int(begun) < ended:
        return [f"{found.key} of turn {begun} was found after invalidation {ended}"]
    return []


def churn(make: Callable[[], StorageBackend], *, seconds: float, processes: int = 8) -> Churned:
    """Have processes work on one storage, which each makes for itself, and compare what they leave with its count."""
    # Forks of a process that has imported what takes long, and otherwise as fresh as new ones.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recallm.storage.redis.storage", "recallm.testing", "redis"])
    results: Queue[tuple[Counter[str], list[str]]] = context.Queue()
    turns = {name: Turns(context.Value("q"), context.Value("q")) for name in NAMESPACES}
    started = [context.Process(target=work, args=(make, turns, seed, seconds, results)) for seed in range(processes)]
    for process in started:
        process.start()
    reports = [results.get(timeout=seconds + 60) for _ in started]
    for process in started:
        process.join()
    done: Counter[str] = Counter()
    for each, _ in reports:
        done.update(each)
    storage = make()
    sizes = {name: storage.sizes([name]).get(name, 0) for name in NAMESPACES}
    recalled = {name: len(_recalled(storage, name)) for name in NAMESPACES}
    return Churned(dict(done), [problem for _, each in reports for problem in each], sizes, recalled)


def _recalled(storage: StorageBackend, namespace: str) -> list[str]:
    keys = [f"{namespace}/{partition}/{at}" for partition in PARTITIONS for at in range(PROMPTS)]
    return [key for key in keys if storage.recall(namespace, key).candidate is not None]
