"""The pytest plugin: fixtures that keep answers from the next test, tried by running pytest on small test files."""

from __future__ import annotations

import gc
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import recallm
from recallm import InMemoryStorage, StorageBackend, semantic_cache
from recallm.engine.switches import PROCESS
from recallm.telemetry.tracing import TRACERS, trace_lookups
from recallm.testing import FakeEmbedder
from recallm.testing.isolation import isolated, switched_off

pytest_plugins = ["pytester"]

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

APP = """
import recallm
from recallm import InMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder

KEPT = InMemoryStorage()
runs = []

@semantic_cache(context={}, embedder=FakeEmbedder())
def answer(question: str) -> int:
    runs.append(question)
    return len(runs)

@semantic_cache(context={}, embedder=FakeEmbedder(), storage=KEPT, ignore=("runs",))
def kept(question: str) -> str:
    return question

@semantic_cache(context={}, embedder=FakeEmbedder(), storage="memory://", ignore=("runs",))
async def later(question: str) -> str:
    return question

SWITCHED = []
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return what runs pytest in a process of its own, with the plugin and an application."""
    pytester.makepyfile(app=APP)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


def outcomes(run: pytest.Pytester, *options: str, **files: str) -> dict[str, int]:
    """Run tests, given as files by their names; return how many ended how."""
    run.makepyfile(**files)
    plugin = ("-p", "no:recallm", "-p", "recallm.testing.plugin", "-p", "no:cacheprovider")
    return run.runpytest_subprocess(*plugin, *options).parseoutcomes()


EACH_BEGINS_EMPTY = """
import asyncio, pytest, app, recallm
pytestmark = pytest.mark.usefixtures("recallm_fresh")

@pytest.mark.parametrize("turn", range(3))
def test_each_begins_empty(turn):
    assert recallm.stats().hits == 0 and recallm.stats().namespace_sizes == {}
    assert (app.answer.stats().misses, app.kept.stats().misses, app.later.stats().misses) == (0, 0, 0)
    for _ in range(2):
        app.answer("q"), app.kept("q"), asyncio.run(app.later("q"))
    assert recallm.stats().hits == 3
    recallm.register_storage("mine", app.InMemoryStorage())
    recallm.set_serve("none")
    recallm.set_active(False)

def test_an_async_one(request):
    async def ask():
        return [await app.later("q"), await app.later("q"), await asyncio.to_thread(app.kept, "q")]
    assert asyncio.run(ask()) == ["q"] * 3
    assert (recallm.stats().hits, recallm.stats().misses) == (1, 2)
"""


INACTIVE = """
import asyncio, threading, app, recallm

def test_off(recallm_inactive):
    found = []
    thread = threading.Thread(target=lambda: found.append(app.answer("off")))
    thread.start()
    thread.join()
    assert [app.answer("off"), app.answer("off")] == [found[0] + 1, found[0] + 2]
    async def ask():
        return await app.later("off")
    assert asyncio.run(ask()) == "off"
    assert not recallm.is_active()

def test_on_again():
    assert recallm.is_active()
    assert app.answer("on") == app.answer("on")
    assert app.later.stats().misses == 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_no_test_sees_what_another_left(run: pytest.Pytester, options: tuple[str, ...]) -> None:
    """By `recallm_fresh` each begins with empty storages, statistics from nothing, and no names or switches of another.

    Under `recallm_inactive` every call runs its function, in threads and tasks too, and only for that test.
    """
    # In this order: the first file counts calls from nothing without a fixture that would have them do so.
    assert outcomes(run, *options, test_inactive=INACTIVE, test_isolated=EACH_BEGINS_EMPTY) == {"passed": 6}


@pytest.mark.slow
def test_without_the_fixture_answers_do_leak(run: pytest.Pytester) -> None:
    """The tests above would fail without it: they show what the fixture is for."""
    assert outcomes(run, test_app=EACH_BEGINS_EMPTY.replace("pytestmark", "unused"))["failed"] >= 2


@pytest.mark.slow
def test_the_plugin_costs_nothing_until_it_is_used(run: pytest.Pytester) -> None:
    """Starting pytest with the plugin loads neither a storage nor numpy nor the rest of a cache."""
    check = "import sys\ndef test_lean():\n    assert not {'numpy', 'recallm.cache'} & {*sys.modules}"
    assert outcomes(run, test_app=check) == {"passed": 1}


def test_pytest_finds_the_plugin() -> None:
    """The distribution names the plugin, and it has the fixtures."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    plugin = import_module(project["entry-points"]["pytest11"]["recallm"])
    assert {"recallm_inactive", "recallm_fresh"} <= {*vars(plugin)}


def cached(storage: StorageBackend | str = "default") -> recallm.CachedFunction[[str], str]:
    """Return a cached function."""

    @semantic_cache(context={}, storage=storage, embedder=FakeEmbedder(), version="1", namespace="n")
    def answer(question: str) -> str:
        return question

    return answer


def test_isolation_undoes_what_the_block_did() -> None:
    """Names, schemes, the default embedder and switches are as before, and answers in memory are gone."""
    mine = InMemoryStorage()
    ours, theirs = cached(), cached(mine)
    ours("q"), theirs("q")
    embedder = FakeEmbedder()
    recallm.set_default_embedder(embedder)
    default = recallm.get_storage()
    with isolated():
        assert recallm.get_storage() is not default
        assert (ours.stats().misses, theirs.stats().misses, mine.sizes(["n"])) == (0, 0, {})
        ours("q"), theirs("q")
        recallm.register_storage("passing", mine)
        recallm.register_scheme("passing", lambda url: mine)
        recallm.set_default_embedder(FakeEmbedder())
        recallm.set_active(False)
        recallm.set_serve("none")
    assert recallm.get_storage() is default
    assert mine.sizes(["n"]) == {}
    assert recallm.storages().keys() == {"default"}
    assert recallm.get_default_embedder() is embedder
    assert (PROCESS.active, PROCESS.serve) == (True, "all")
    with pytest.raises(LookupError):
        recallm.get_storage("passing://")


class Shared(InMemoryStorage):
    """A storage that others may share."""

    blocking = True


class Broken(InMemoryStorage):
    """A storage that cannot be emptied."""

    def invalidate(self, namespace: str) -> int:
        """Fail."""
        raise RuntimeError


def test_isolation_leaves_what_others_share_and_survives_what_is_broken() -> None:
    """A storage that may be shared is not emptied, one that fails fails nobody, nor does a name that is gone."""
    shared, broken = Shared(), Broken()
    recallm.register_storage("gone", InMemoryStorage())
    functions = [cached(shared), cached(broken), cached("gone")]
    for each in functions:
        each("q")
    recallm.unregister_storage("gone")
    with isolated():
        pass
    assert (shared.sizes(["n"]), broken.sizes(["n"])) == ({"n": 1}, {"n": 1})


def test_isolation_empties_storages_whose_functions_are_gone() -> None:
    """What a test's own function has stored does not answer the same function of the next test."""
    mine = InMemoryStorage()
    with isolated():
        cached(mine)("q")
        gc.collect()
    assert mine.sizes(["n"]) == {}


def test_isolation_ends_with_who_began_to_listen_in_the_block() -> None:
    """Listeners and tracers that the block added are told nothing afterwards; those from before go on."""
    seen: list[str] = []
    ask: Any = semantic_cache(context={}, threshold="exact", storage=InMemoryStorage())(lambda prompt: prompt)

    def hear(name: str) -> Callable[..., None]:
        return lambda *_: seen.append(name)

    remove = recallm.on_event(hear("before"))
    tracers = TRACERS.copy()
    with isolated():
        recallm.on_event(hear("within"))
        trace_lookups(hear("traced"))  # type: ignore[arg-type]  # a tracer that begins no span
    ask("q")
    assert {*seen} == {"before"}
    assert tracers == TRACERS
    remove()


def test_switching_off_for_a_block_ends_with_it() -> None:
    """A process that was off stays so."""
    with switched_off():
        with switched_off():
            assert not recallm.is_active()
        assert not recallm.is_active()
    assert recallm.is_active()
