"""What every test starts from."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

# On a busy machine numpy's own threads wait for each other longer than the small products of these tests take.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import settings
from support.marks import IMPLIED_MARKS

from recallm import registry
from recallm.telemetry import log
from recallm.telemetry.recording import active_recordings

if TYPE_CHECKING:
    from support.redis_servers import Server


# A busy machine is no failure.
settings.register_profile("recallm", deadline=None)
# For a second Python, after the first has had all examples.
settings.register_profile("few", deadline=None, max_examples=20)
settings.load_profile("recallm")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Start no workers for chosen files or names: a few tests are done before workers have started."""
    return 0 if config.option.file_or_dir or config.option.keyword else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests for what they use."""
    for item in items:
        for fixture in IMPLIED_MARKS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(IMPLIED_MARKS[fixture])
        # What chance reaches proves no coverage, and volume takes longest to trace.
        if item.get_closest_marker("slow") or getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("untraced")
    if changing := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError("\n".join(["ids with addresses, use ids=support.ids.named:", *changing]))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Trace nothing in a test marked ``untraced``; the mark of pytest-cov itself has no effect in a worker."""
    traces = sys.gettrace(), threading.gettrace()
    if item.get_closest_marker("untraced"):
        sys.settrace(None)
        threading.settrace(None)
    try:
        return (yield)
    finally:
        if sys.gettrace() is not traces[0]:
            sys.settrace(traces[0])
            threading.settrace(traces[1])


def pytest_collection_finish() -> None:
    """Keep the garbage collector from passing over thousands of collected tests whenever one of them runs it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's names are as after an import, whatever the tests before did."""
    monkeypatch.setattr(registry, "_registered", {"default": registry._fresh_default()})
    monkeypatch.setattr(registry, "_urls", {})
    # A cache in a cycle outlives its test until the collector runs, its broken storage with it.
    monkeypatch.setattr(registry, "_cores", {})
    monkeypatch.setattr(registry, "_chosen_embedder", None)
    monkeypatch.setattr(registry, "_schemes", {})
    monkeypatch.setattr(registry, "_metrics", registry._metrics)
    # What one test had logged would keep quiet in the next.
    monkeypatch.setattr(log.LOG, "_logged_at", {})
    yield
    for recording in active_recordings():
        recording.stop()


@pytest.fixture(scope="module", params=["vectorset", "search", "valkey", "debian"])
def redis_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each kind of Redis server that is installed."""
    from support.redis_servers import COMMANDS, WANTED, running

    if request.param not in COMMANDS:
        pytest.skip(WANTED[request.param])
    with running(request.param) as server:
        yield server


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    """Return whether the function is async."""
    return bool(request.param)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Return an event that ends whatever hangs, at the latest when the test does."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def shop() -> Iterator[ModuleType]:
    """Return an empty module that is loaded."""
    module = ModuleType("shop")
    sys.modules["shop"] = module
    yield module
    del sys.modules["shop"]
