"""Metrics of several processes, which write them down for whoever is scraped."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

PREAMBLE = """
import os, sys, time, warnings
import recallm
from recallm import InMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder
warnings.simplefilter("ignore", DeprecationWarning)  # forks beside threads

class Shared(InMemoryStorage):
    "Entries that several processes see, as a server would show them."
    blocking = True
    def sizes(self, namespaces):
        return {"shared": 5}

def cached(storage, namespace, **options):
    return semantic_cache(
        context={}, storage=storage, embedder=FakeEmbedder(), name="measured", namespace=namespace, **options
    )(lambda prompt: "an answer")
"""

WORKER = """
own, shared = cached(InMemoryStorage(), "own"), cached(Shared(), "shared")
for prompt in ("one two", "one two", "three four", "two one"):
    own(prompt)
shared("five")
print("ready", flush=True)
if sys.stdin.readline():
    shared("six")
    sys.stdin.read()
"""

FORKING = """
own = cached(InMemoryStorage(), "own")
own("of the parent")
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        own("of the parent")
        own(f"of child {number}")
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a program that writes its metrics into a folder."""
    return {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}


def sample(folder: Path, name: str, **labels: str) -> float | None:
    """Return a sample of all processes together, or None while one of them is making its file."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    try:
        return registry.get_sample_value(f"recallm_{name}", labels)
    except struct.error:
        return None


def eventually(found: Callable[[], Any], expected: Any) -> None:
    """Wait until something has a value; fail if it never has."""
    until = time.monotonic() + 30
    while (value := found()) != expected:
        assert time.monotonic() < until, f"{value} is not {expected}"
        time.sleep(0.05)


def finish(worker: subprocess.Popen[str]) -> None:
    """Have a worker end, and tell Prometheus that it has."""
    worker.communicate(timeout=30)
    assert worker.returncode == 0


@pytest.fixture
def workers(tmp_path: Path) -> Any:
    """Return two programs that have asked."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(tmp_path),
        )
        for _ in range(2)
    ]
    for worker in started:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    yield started
    for worker in started:
        worker.kill()
        worker.communicate()


def test_counters_and_histograms_add_up(tmp_path: Path, workers: list[subprocess.Popen[str]]) -> None:
    """Counters and histograms are of all processes, at once and after these have ended."""

    def check() -> None:
        assert sample(tmp_path, "misses_total", cache="measured") == 6
        assert sample(tmp_path, "hits_total", cache="measured", tier="exact") == 2
        assert sample(tmp_path, "hits_total", cache="measured", tier="semantic") == 2
        assert sample(tmp_path, "stored_total", cache="measured") == 6
        assert sample(tmp_path, "lookup_seconds_count", cache="measured") == 4
        assert sample(tmp_path, "similarity_bucket", cache="measured", le="+Inf") == 2
        assert sample(tmp_path, "similarity_bucket", cache="measured", le="0.7") == 0
        assert sample(tmp_path, "similarity_sum", cache="measured") == pytest.approx(2)
        assert sample(tmp_path, "coalesced_total", cache="measured") == 0

    check()
    for worker in workers:
        finish(worker)
    check()


def test_entries_are_of_live_processes_and_shared_ones_count_once(
    tmp_path: Path, workers: list[subprocess.Popen[str]]
) -> None:
    """Entries of each process's own add up while it lives; what processes share is told of by one of them."""
    eventually(lambda: sample(tmp_path, "entries", namespace="own"), 4)
    eventually(lambda: sample(tmp_path, "entries", namespace="shared"), 5)
    finish(workers[0])
    mark_process_dead(workers[0].pid, str(tmp_path))  # type: ignore[no-untyped-call]
    assert sample(tmp_path, "entries", namespace="own") == 2
    # The one that told of it may have been the one that ended: then the other does, with its next event.
    assert workers[1].stdin is not None
    workers[1].stdin.write("\n")
    workers[1].stdin.flush()
    eventually(lambda: sample(tmp_path, "entries", namespace="shared"), 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_forked_processes_count_for_themselves(tmp_path: Path) -> None:
    """A child's counts begin with its own calls, are written with each of them, and add to its parent's."""
    finished = subprocess.run(
        [sys.executable, "-c", PREAMBLE + FORKING],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(tmp_path),
    )
    assert finished.returncode == 0, finished.stderr
    assert sample(tmp_path, "misses_total", cache="measured") == 4
    assert sample(tmp_path, "hits_total", cache="measured", tier="exact") == 3


STRUCK = """
import threading
from prometheus_client import Counter
from support.interrupting import each_point, in_time
counter, ask = Counter("of_the_application", ""), cached(InMemoryStorage(), "own")
ask("q")
def check():
    for work, strikes in ((counter.inc, 1), (lambda: ask("q"), 2)):
        before = ask.stats().hits
        struck = len(list(each_point(lambda: work, ("prometheus_client/",), lambda _: ask("q"))))
        # After the last point the work is done once more, to find that there is none.
        assert struck > 3 and ask.stats().hits - before == strikes * struck + strikes - 1
in_time(check)
print(ask.stats().hits)
"""


def test_a_call_may_strike_anywhere_in_prometheus(tmp_path: Path) -> None:
    """A handler that asks within the application's own counting, or within recallm's, gets an answer and is counted."""
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([tests, *sys.path])
    finished = subprocess.run(
        [sys.executable, "-c", PREAMBLE + STRUCK],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment(tmp_path), "PYTHONPATH": path},
    )
    assert finished.returncode == 0, finished.stderr
    assert sample(tmp_path, "hits_total", cache="measured", tier="exact") == int(finished.stdout)


def test_any_name_can_be_scraped(tmp_path: Path) -> None:
    """A namespace and a cache with half a surrogate pair in their names spoil no file."""
    program = """
ask = semantic_cache(
    context={}, storage=InMemoryStorage(), embedder=FakeEmbedder(), namespace="\\ud800", name="\\udfff"
)(lambda prompt: "an answer")
ask("q")
print("ready", flush=True)
sys.stdin.read()
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        eventually(lambda: sample(tmp_path, "entries", namespace="\\ud800"), 1)
        assert sample(tmp_path, "misses_total", cache="\\udfff") == 1
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(tmp_path))  # type: ignore[no-untyped-call]
        assert b"recallm_misses_total" in generate_latest(registry)
    finally:
        finish(worker)
