"""Eight processes that read, write, invalidate and remove at once, and check all that they read."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from recallm.records import Candidate, Entry
from recallm.storage.redis.storage import LayoutName, RedisStorage
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


def entry(namespace: str, partition: str, at: int, payload: bytes) -> Entry:
    """Return one of the entries that the processes put and look for."""
    prompt = f"{partition} words for prompt {at}"
    key = f"{namespace}/{partition}/{at}"
    return Entry(key, namespace, partition, prompt, FakeEmbedder(dim=32).embed(prompt), payload)


def stamp(namespace: str, client: Any) -> int:
    """Return how often the namespace was invalidated, as the processes count it beside the storage."""
    return int(client.get(f"stamp:{namespace}") or 0)


def work(
    url: str, layout: LayoutName, seed: int, seconds: float, results: Queue[tuple[Counter[str], list[str]]]
) -> None:
    """Do one process's share."""
    chance = random.Random(seed)  # noqa: S311  # a test's choice of what to do next
    storage = RedisStorage.from_url(url, layout=layout, timeout=5.0)
    client = redis.Redis.from_url(url)
    done: Counter[str] = Counter()
    problems: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        namespace, partition = chance.choice(NAMESPACES), chance.choice(PARTITIONS)
        action = chance.choices(("read", "write", "remove", "invalidate"), (60, 34, 5, 1))[0]
        try:
            _act(action, storage, client, entry(namespace, partition, chance.randrange(PROMPTS), b""), problems, chance)
            done[action] += 1
        except Exception as error:  # noqa: BLE001  # reported, whatever it is
            problems.append(f"{action}: {type(error).__name__}: {error}")
    results.put((done, problems))


def _act(
    action: str, storage: RedisStorage, client: Any, one: Entry, problems: list[str], chance: random.Random
) -> None:
    assert one.vector is not None
    if action == "read":
        # Invalidations ended before the look-up must have left nothing of what was stored before them.
        ended = stamp(one.namespace, client)
        exact = storage.recall(one.namespace, one.key).candidate
        for candidate in [exact, *storage.search(one.namespace, one.partition, one.vector, 0.8, 16)]:
            if candidate is not None:
                problems += wrong(candidate, one, ended)
    elif action == "write":
        epoch = storage.recall(one.namespace, one.key).epoch
        begun = int(client.get(f"begun:{one.namespace}") or 0)
        time.sleep(chance.random() * 0.002)
        payload = f"{one.key} {begun}".encode()
        storage.put(entry(one.namespace, one.partition, int(one.key.rpartition("/")[2]), payload), epoch, None)
    elif action == "remove":
        storage.remove(one.namespace, [one.key])
    else:
        turn = client.incr(f"begun:{one.namespace}")
        storage.invalidate(one.namespace)
        # Others may have ended later ones already; the highest counts.
        client.eval(
            "if tonumber(redis.call('GET',KEYS[1]) or '0') < tonumber(ARGV[1]) then "
            "redis.call('SET',KEYS[1],ARGV[1]) end",
            1,
            f"stamp:{one.namespace}",
            turn,
        )


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


def churn(url: str, layout: LayoutName, *, seconds: float, processes: int = 8) -> Churned:
    """Have processes work on one server, and compare what they leave with the storage's own count."""
    context = multiprocessing.get_context("spawn")
    results: Queue[tuple[Counter[str], list[str]]] = context.Queue()
    started = [context.Process(target=work, args=(url, layout, seed, seconds, results)) for seed in range(processes)]
    for process in started:
        process.start()
    reports = [results.get(timeout=seconds + 60) for _ in started]
    for process in started:
        process.join()
    done: Counter[str] = Counter()
    for each, _ in reports:
        done.update(each)
    storage = RedisStorage.from_url(url, layout=layout, timeout=5.0)
    sizes = {name: storage.sizes([name]).get(name, 0) for name in NAMESPACES}
    recalled = {name: len(_recalled(storage, name)) for name in NAMESPACES}
    return Churned(dict(done), [problem for _, each in reports for problem in each], sizes, recalled)


def _recalled(storage: RedisStorage, namespace: str) -> list[str]:
    keys = [f"{namespace}/{partition}/{at}" for partition in PARTITIONS for at in range(PROMPTS)]
    return [key for key in keys if storage.recall(namespace, key).candidate is not None]
