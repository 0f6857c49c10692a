"""The switches: an inactive call goes straight to its function, for the process or for a block."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import recallm
from recallm import InMemoryStorage, RecallmError, semantic_cache
from recallm.engine.switches import PROCESS, Switches
from recallm.testing import FakeEmbedder
from recallm.testing.threads import run_at_once


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Undo what a test switches."""
    before = PROCESS.active, PROCESS.serve
    yield
    PROCESS.active, PROCESS.serve = before


class Unusable(FakeEmbedder):
    """An embedder that no inactive call may ask."""

    def embed(self, text: str, /) -> Any:
        """Fail the test."""
        raise AssertionError("an inactive call was embedded")


def cached(fn: Callable[..., Any], **options: Any) -> Any:
    """Return a function, cached."""
    known = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder()}
    return semantic_cache(**{**known, **options})(fn)


def counting(**options: Any) -> tuple[Any, list[Any]]:
    """Return a cached function, and the list of what it is called with."""
    calls: list[Any] = []

    def answer(question: str, **more: Any) -> int:
        calls.append((question, more))
        return len(calls)

    return cached(answer, version="1", **options), calls


def test_an_inactive_call_goes_straight_to_its_function() -> None:
    """Nothing is looked up, embedded, stored or counted, no context is needed, and the keywords do not get through."""
    answer, calls = counting(context=None, embedder=Unusable())
    recallm.set_active(False)
    assert not recallm.is_active()
    assert [answer("q", cache_context=7, cache_serve="?", cache_ttl="?", cache_namespace=1, n=2) for _ in "ab"] == [
        1,
        2,
    ]
    assert calls == [("q", {"n": 2})] * 2
    stats = answer.stats()
    assert (stats.hits, stats.misses, stats.bypasses, stats.stored, stats.errors) == (0, 0, {}, 0, {})
    recallm.set_active(True)
    assert recallm.is_active()
    with pytest.raises(ValueError, match="no cache context"):
        answer("q")


def test_a_stored_answer_is_served_again_once_the_switch_is_back_on() -> None:
    """Switching off neither serves nor loses what is stored."""
    answer, _ = counting()
    assert answer("q") == 1
    recallm.set_active(False)
    assert answer("q") == 2
    recallm.set_active(True)
    assert answer("q") == 1


def test_the_handles_of_an_inactive_function() -> None:
    """`explain` says why, `refresh` calls and stores nothing, and what removes answers works."""
    answer, calls = counting()
    answer("q")
    with recallm.inactive():
        explained = answer.explain("q")
        assert (explained.outcome, explained.reason) == ("bypass", "inactive")
        assert answer.refresh("q", cache_context={}, n=3) == 2
        assert calls[-1] == ("q", {"n": 3})
        assert answer.invalidate("q") == 1
        assert answer.clear() == 0
    assert answer("q") == 3


def test_all_kinds_of_functions_are_switched_off() -> None:
    """Async functions, generators, methods and objects are called as they are."""

    class Agent:
        @semantic_cache(storage=InMemoryStorage(), embedder=Unusable())
        def ask(self, question: str) -> str:
            return question + "!"

        @semantic_cache(storage=InMemoryStorage(), embedder=Unusable())
        async def later(self, question: str) -> str:
            return question + "!"

        @classmethod
        @semantic_cache(storage=InMemoryStorage(), embedder=Unusable())
        def of_class(cls, question: str) -> str:
            return cls.__name__ + question

        @semantic_cache(storage=InMemoryStorage(), embedder=Unusable())
        async def streamed(self, question: str) -> AsyncIterator[str]:
            yield question

    async def ask_later(agent: Agent) -> list[Any]:
        answers: list[Any] = [await agent.later("q", cache_context={}), await agent.later.arefresh("q")]
        return [*answers, (await agent.later.aexplain("q")).reason, [each async for each in agent.streamed("q")]]

    with recallm.inactive():
        agent = Agent()
        assert (agent.ask("q", cache_context={}), Agent.of_class("q")) == ("q!", "Agentq")
        assert asyncio.run(ask_later(agent)) == ["q!", "q!", "inactive", ["q"]]
        assert agent.streamed.stats().bypasses == {}


def test_an_async_function_behind_a_sync_wrapper_may_be_awaited_whatever_it_returns() -> None:
    """What is awaited while the cache is on is awaited while it is off."""

    def either(question: str) -> Any:
        return question

    answer = recallm.SemanticCache(InMemoryStorage(), embedder=Unusable()).wrap(either, mode="async", context={})

    async def ask() -> Any:
        with recallm.inactive():
            return await answer("q")

    assert asyncio.run(ask()) == "q"


def test_exceptions_pass_untouched() -> None:
    """What the function raises reaches the caller."""
    error = KeyError("q")

    def answer(question: str) -> str:
        raise error

    with recallm.inactive(), pytest.raises(KeyError) as caught:
        cached(answer)("q")
    assert caught.value is error


def test_blocks_nest() -> None:
    """The end of an inner block does not end the outer one, nor does an exception leave one open."""
    with recallm.inactive():
        with recallm.inactive():
            assert not recallm.is_active()
        assert not recallm.is_active()
    with pytest.raises(KeyError), recallm.inactive():
        raise KeyError
    assert recallm.is_active()


def test_a_block_counts_for_its_thread_alone() -> None:
    """Of threads at the same time, those in a block are inactive and no others, unless they run in its context."""
    here, elsewhere = threading.Barrier(2), threading.Barrier(2)

    def inside() -> bool:
        with recallm.inactive():
            here.wait(10)
            elsewhere.wait(10)
            return recallm.is_active()

    def outside() -> bool:
        here.wait(10)
        active = recallm.is_active()
        elsewhere.wait(10)
        return active

    assert run_at_once([inside, outside]) == [False, True]
    with recallm.inactive():
        assert run_at_once([recallm.is_active]) == [True]
        context = contextvars.copy_context()
        assert run_at_once([lambda: context.run(recallm.is_active)]) == [False]


def test_a_block_counts_for_its_task_and_what_it_starts() -> None:
    """A task's block covers its own calls, its tasks and `asyncio.to_thread`, and not the tasks beside it."""

    async def inside(entered: asyncio.Event, leave: asyncio.Event) -> list[bool]:
        with recallm.inactive():
            entered.set()
            started = asyncio.create_task(asyncio.to_thread(recallm.is_active))
            await leave.wait()
            return [recallm.is_active(), await started]

    async def both() -> tuple[list[bool], bool]:
        entered, leave = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(inside(entered, leave))
        await entered.wait()
        active = recallm.is_active()
        leave.set()
        return await task, active

    assert asyncio.run(both()) == ([False, False], True)


def test_a_call_is_inactive_if_it_is_made_in_a_block() -> None:
    """A coroutine made in a block is inactive wherever it is awaited, and one made outside is not."""
    calls: list[str] = []

    async def answer(question: str) -> int:
        calls.append(question)
        return len(calls)

    ask = cached(answer, version="1")

    async def made() -> list[int]:
        outside = ask("q")
        with recallm.inactive():
            inside = ask("q")
            first = await outside
        return [first, await inside, await ask("q")]

    assert asyncio.run(made()) == [1, 2, 1]


def test_a_block_may_end_in_another_context() -> None:
    """A generator's block that is closed in another context raises nothing there, and switches nothing off."""

    def in_block() -> Iterator[bool]:
        with recallm.inactive():
            yield recallm.is_active()

    held = in_block()
    assert contextvars.copy_context().run(next, held) is False
    held.close()  # type: ignore[attr-defined]  # a generator
    assert recallm.is_active()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_begins_as_its_parent_was_and_goes_its_own_way() -> None:
    """Switches are copied by a fork; what the child switches is no matter of the parent's."""
    with recallm.inactive():
        recallm.set_serve("exact")
        child = os.fork()
        if child == 0:
            inherited = not recallm.is_active() and PROCESS.serve == "exact"
            recallm.set_active(False)
            recallm.set_serve("none")
            os._exit(0 if inherited else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert (recallm.is_active(), PROCESS.serve) == (True, "exact")


@pytest.mark.parametrize(
    ("said", "active"),
    [
        ("0", False),
        ("false", False),
        ("No", False),
        (" OFF ", False),
        ("1", True),
        ("yes", True),
        ("", True),
        ("2", True),
    ],
)
def test_the_environment_may_switch_a_process_off(said: str, active: bool) -> None:
    """A few spellings are understood in any case; what is not understood does nothing."""
    assert Switches({"RECALLM_ACTIVE": said}).active is active
    assert Switches({}).active is True


@pytest.mark.parametrize(("said", "serve"), [("none", "none"), ("Exact", "exact"), ("all", "all"), ("refresh", "all")])
def test_the_environment_may_limit_what_a_process_serves(said: str, serve: str) -> None:
    """`RECALLM_SERVE` takes what `set_serve` takes."""
    assert Switches({"RECALLM_SERVE": said}).serve == serve


PROGRAM = """
import recallm
@recallm.semantic_cache(context={}, threshold="exact")
def answer(question: str) -> str: return question
answer("q"); answer("q")
print(recallm.is_active(), answer.stats().hits)
"""


@pytest.mark.parametrize(("said", "printed", "told"), [("off", "False 0", False), ("maybe", "True 1", True)])
def test_the_environment_is_read_by_a_process(said: str, printed: str, told: bool) -> None:
    """A process begins as its environment says; a spelling that is not known is told, and harms nothing."""
    environ = {**os.environ, "RECALLM_ACTIVE": said}
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], env=environ, capture_output=True, text=True)
    assert done.stdout.strip() == printed, done.stderr
    assert ("RECALLM_ACTIVE='maybe' is not known and does nothing; use one of 0, false" in done.stderr) is told


@pytest.mark.parametrize(
    ("switch", "value", "error"),
    [
        (recallm.set_active, 0, TypeError),
        (recallm.set_active, None, TypeError),
        (recallm.set_serve, "refresh", ValueError),
        (recallm.set_serve, None, ValueError),
    ],
)
def test_a_switch_takes_nothing_else(switch: Callable[[Any], None], value: Any, error: type[Exception]) -> None:
    """A wrong value raises and switches nothing."""
    with pytest.raises(error) as caught:
        switch(value)
    assert isinstance(caught.value, RecallmError)
    assert (PROCESS.active, PROCESS.serve) == (True, "all")
