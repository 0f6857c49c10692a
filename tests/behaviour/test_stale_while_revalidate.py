"""`stale_while_revalidate`: an expired answer is served at once, and made anew in the background."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Any

import pytest
import trio
from support.background import is_revalidating
from support.redis_storages import until

from recallm import InMemoryStorage, RedisStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.testing import Clock, FakeEmbedder

USER: ContextVar[str] = ContextVar("user", default="nobody")


class Slow:
    """A function that can be held up, cached with a ttl of 10 s and `stale_while_revalidate=100`."""

    def __init__(self, *, asynchronous: bool = False, **given: Any) -> None:
        self.clock = Clock()
        self.calls: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        known = {"context": {}, "embedder": FakeEmbedder(), "guards": (), "ttl": 10, "stale_while_revalidate": 100}
        known |= {"storage": InMemoryStorage(clock=self.clock), "ignore": ("self", "USER")}

        def begin() -> list[str]:
            self.calls.append((threading.current_thread().name, USER.get()))
            return [f"answer {len(self.calls)}"]

        def end(answer: list[str]) -> list[str]:
            if self.error is not None:
                raise self.error
            return answer

        def answer(prompt: str) -> list[str]:
            made = begin()
            assert self.go_on.wait(10)
            return end(made)

        async def later(prompt: str) -> list[str]:
            made = begin()
            while not self.go_on.is_set():
                await asyncio.sleep(0.001)
            return end(made)

        self.asynchronous = asynchronous
        self.cached: Any = semantic_cache(**{**known, **given})(later if asynchronous else answer)
        self.loop = asyncio.new_event_loop() if asynchronous else None

    def ask(self, prompt: str = "one two") -> Any:
        """Call the cached function, sync or async."""
        return self.cached(prompt) if self.loop is None else self.loop.run_until_complete(self.cached(prompt))

    def expire(self) -> None:
        """Have all answers expire."""
        self.clock.advance(50)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds, while the event loop goes on if there is one."""
        if self.loop is None:
            until(condition)
            return

        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(asyncio.wait_for(wait(), 10))

    def settle(self) -> None:
        """Wait until nothing goes on in the background."""
        self.until(lambda: not is_revalidating())


@pytest.fixture
def slow(asynchronous: bool) -> Any:
    """Return such a function, sync or async."""
    made = Slow(asynchronous=asynchronous)
    yield made
    made.go_on.set()
    if made.loop is not None:
        made.loop.close()


def test_an_expired_answer_is_served_at_once_and_replaced(slow: Slow) -> None:
    """The call gets the expired answer while the function is at work, and later ones the new answer."""
    assert slow.ask() == ["answer 1"]
    slow.expire()
    slow.go_on.clear()
    assert slow.ask() == ["answer 1"]
    assert slow.ask() == ["answer 1"]  # it is being made anew once
    slow.go_on.set()
    slow.settle()
    assert slow.ask() == ["answer 2"]
    stats = slow.cached.stats()
    assert (stats.hits, stats.misses, stats.stale_hits, stats.stored, stats.stale) == (3, 1, 2, 2, 0)
    assert (len(slow.calls), stats.errors, stats.bypasses) == (2, {}, {})
    assert "stale_hits      2" in repr(stats)


def test_a_similar_prompt_is_served_it_and_gets_an_answer_of_its_own(slow: Slow) -> None:
    """A similar prompt's expired answer is served too; the function then answers the prompt that was asked."""
    slow.ask()
    slow.expire()
    assert slow.ask("two one") == ["answer 1"]
    slow.settle()
    assert slow.ask("two one") == ["answer 2"]
    stats = slow.cached.stats()
    assert (stats.exact_hits, stats.semantic_hits, stats.misses, stats.stale_hits) == (1, 1, 1, 1)


def test_a_fresh_similar_answer_is_served_before_an_expired_one() -> None:
    """If a similar prompt's answer is fresh, it is served, and nothing is made anew."""
    slow = Slow(threshold=0.7)
    slow.ask("one two")
    slow.expire()
    slow.cached.refresh("one two three")
    assert slow.ask("two one") == ["answer 2"]
    assert slow.cached.stats().stale_hits == 0


def test_too_late_the_call_waits_for_the_function(slow: Slow) -> None:
    """After the time that was given the answer is gone, and the call is a miss."""
    slow.ask()
    slow.clock.advance(111)
    assert slow.ask() == ["answer 2"]
    assert (slow.cached.stats().misses, slow.cached.stats().stale_hits) == (2, 0)


def test_what_the_function_raises_meanwhile_is_counted_and_never_raised(
    slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in the background is counted under "revalidate"; the next call tries again."""
    slow.ask()
    slow.expire()
    slow.error = ConnectionError("secret")
    with caplog.at_level(logging.WARNING, "recallm"):
        assert slow.ask() == ["answer 1"]
        slow.settle()
        assert slow.ask() == ["answer 1"]
        slow.settle()
    stats = slow.cached.stats()
    assert (stats.errors, stats.hits, stats.misses, stats.bypasses) == ({"revalidate": 2}, 2, 1, {})
    assert "revalidate failed with ConnectionError" in caplog.text
    assert "secret" not in caplog.text
    slow.error = None
    slow.ask()
    slow.settle()
    assert slow.ask() == ["answer 4"]


def test_it_goes_with_stale_if_error() -> None:
    """Within its time an expired answer is served at once; after that the function is waited for, and may fail."""
    slow = Slow(stale_if_error=1000)
    slow.ask()
    slow.expire()
    assert slow.ask() == ["answer 1"]
    slow.settle()
    slow.clock.advance(500)
    slow.error = ConnectionError("away")
    assert slow.ask() == ["answer 2"]
    stats = slow.cached.stats()
    assert (stats.hits, stats.stale_hits, stats.misses, stats.stale) == (1, 1, 2, 1)


def test_what_was_removed_is_not_served_and_an_older_answer_not_stored(slow: Slow) -> None:
    """An invalidation ends it: the expired answer is gone, and the one that was under way is not stored."""
    slow.ask()
    slow.expire()
    slow.go_on.clear()
    slow.ask()
    slow.until(lambda: len(slow.calls) == 2)
    slow.cached.clear()
    slow.go_on.set()
    slow.settle()
    assert slow.cached.stats().namespace_sizes == {}
    assert slow.ask() == ["answer 3"]
    assert (slow.cached.stats().hits, slow.cached.stats().misses) == (1, 2)


def test_a_refresh_meanwhile_is_not_undone() -> None:
    """An answer that was asked for while an older one was being made stays in its place."""
    clock, calls, held, go_on = Clock(), count(1), threading.Event(), threading.Event()
    known: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "ttl": 10, "stale_while_revalidate": 100}

    @semantic_cache(**known, storage=ThreadSafeInMemoryStorage(clock=clock), version="1")
    def ask(prompt: str) -> str:
        number = next(calls)
        if number == 2:
            held.set()
            assert go_on.wait(10)
        return f"answer {number}"

    assert ask("one two") == "answer 1"
    clock.advance(50)
    assert ask("one two") == "answer 1"
    assert held.wait(10)
    assert ask.refresh("one two") == "answer 3"
    go_on.set()
    until(lambda: not is_revalidating())
    assert ask("one two") == "answer 3"


def test_the_function_sees_the_context_variables_of_the_call(slow: Slow) -> None:
    """The background call has the context of the call that was answered, in a thread of its own if it is sync."""
    slow.ask()
    slow.expire()
    token = USER.set("ada")
    slow.ask()
    USER.reset(token)
    slow.settle()
    thread, user = slow.calls[1]
    assert user == "ada"
    assert (thread == "recallm-revalidate") == (slow.loop is None)


def test_arguments_that_the_caller_changes_meanwhile_are_read_as_they_were(asynchronous: bool) -> None:
    """A list that the caller appends to after its call, as chats do, is the function's as it was."""
    clock, go_on, seen = Clock(), threading.Event(), list[list[Any]]()
    go_on.set()

    def answer(messages: list[dict[str, str]]) -> str:
        assert go_on.wait(10)
        seen.append([dict(each) for each in messages])
        return messages[-1]["content"].upper()

    async def later(messages: list[dict[str, str]]) -> str:
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        return answer(messages)

    known: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "storage": InMemoryStorage(clock=clock)}
    caching = semantic_cache(**known, version="1", ttl=10, stale_while_revalidate=100)
    ask: Any = caching(later if asynchronous else answer)

    async def run() -> None:
        async def call(messages: list[dict[str, str]]) -> str:
            answered: str = await ask(messages) if asynchronous else ask(messages)
            return answered

        messages = [{"role": "user", "content": "why"}]
        await call(messages)
        clock.advance(50)
        go_on.clear()
        reply = await call(messages)
        messages[0]["content"] = "how"
        messages.append({"role": "assistant", "content": reply})
        go_on.set()
        while ask.stats().stored < 2:
            await asyncio.sleep(0.001)
        assert seen == [[{"role": "user", "content": "why"}]] * 2
        assert await call([{"role": "user", "content": "why"}]) == "WHY"

    asyncio.run(asyncio.wait_for(run(), 10))
    assert ask.stats().errors == {}


def test_an_object_that_changes_while_the_function_reads_it_leaves_no_answer() -> None:
    """What is no plain container is read again afterwards: if it has changed, the new answer is not stored."""
    clock, begun, go_on = Clock(), threading.Semaphore(0), threading.Event()
    go_on.set()

    class Settings:
        def __init__(self) -> None:
            self.tone = "polite"

    known: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "storage": InMemoryStorage(clock=clock)}

    @semantic_cache(**known, version="1", ttl=10, stale_while_revalidate=100)
    def ask(prompt: str, settings: Settings) -> str:
        begun.release()
        assert go_on.wait(10)
        return f"{prompt}, {settings.tone}"

    settings = Settings()
    ask("why", settings)
    clock.advance(50)
    go_on.clear()
    assert ask("why", settings) == "why, polite"
    assert begun.acquire(timeout=10)
    assert begun.acquire(timeout=10)
    settings.tone = "rude"
    go_on.set()
    until(lambda: not is_revalidating())
    assert ask.stats().stored == 1
    assert ask("why", Settings()) == "why, polite"


def test_under_trio_a_call_waits_for_the_function() -> None:
    """Trio has no tasks that go on after a call: there an expired answer is a miss."""
    clock, calls = Clock(), list[int]()

    @semantic_cache(
        context={},
        embedder=FakeEmbedder(),
        storage=InMemoryStorage(clock=clock),
        ttl=10,
        stale_while_revalidate=100,
        ignore=("calls",),
    )
    async def ask(prompt: str) -> str:
        await trio.sleep(0)
        calls.append(1)
        return f"answer {len(calls)}"

    async def main() -> list[str]:
        first = await ask("one two")
        clock.advance(50)
        return [first, await ask("one two")]

    assert trio.run(main) == ["answer 1", "answer 2"]
    assert (ask.stats().misses, ask.stats().stale_hits) == (2, 0)


def run_and_close(work: Any) -> Any:
    """Run a coroutine in a loop of its own, and leave behind what else the loop has to do."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@pytest.mark.parametrize("run", [asyncio.run, run_and_close])
def test_a_loop_that_ends_ends_what_was_under_way(run: Callable[[Any], Any]) -> None:
    """If the event loop ends first, nothing hangs or is counted, and the next loop makes the answer anew."""
    slow = Slow(asynchronous=True)
    assert slow.loop is not None
    slow.loop.close()

    async def stale() -> Any:
        return await slow.cached("one two")

    run(stale())
    slow.expire()
    slow.go_on.clear()
    assert run(stale()) == ["answer 1"]
    slow.go_on.set()

    async def again() -> Any:
        await stale()
        while slow.cached.stats().stored < 2:
            await asyncio.sleep(0.001)
        return await stale()

    assert run(asyncio.wait_for(again(), 10)) == ["answer 3"]
    stats = slow.cached.stats()
    assert (stats.errors, stats.bypasses, stats.hits, stats.misses) == ({}, {}, 3, 1)


def test_many_threads_have_one_answer_made() -> None:
    """However many calls find the expired answer at once, the function is called once for it."""
    slow = Slow()
    slow.ask()
    slow.expire()
    slow.go_on.clear()
    threads = [threading.Thread(target=slow.ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    slow.go_on.set()
    slow.settle()
    assert (len(slow.calls), slow.cached.stats().stale_hits) == (2, 8)


def test_explain_tells_that_it_is_expired() -> None:
    """`explain` calls it a hit, says that it has expired, and has nothing made."""
    slow = Slow()
    slow.ask()
    slow.expire()
    why = slow.cached.explain("one two")
    assert (why.outcome, why.reason, why.detail, why.age) == ("hit", "exact", "expired, and made anew", 50.0)
    assert len(slow.calls) == 1


def test_another_process_may_have_made_it_meanwhile(redis_server: Any) -> None:
    """On Redis an answer that another process has made is found, and none is made."""
    redis_server.empty()
    given: dict[str, Any] = {"ttl": 0.05, "stale_while_revalidate": 1000, "version": "1", "namespace": "n"}
    slow = Slow(storage=RedisStorage.from_url(redis_server.url), **given)
    other = Slow(storage=RedisStorage.from_url(redis_server.url), **{**given, "ttl": 1000})
    assert slow.ask() == ["answer 1"]
    until(lambda: slow.cached.explain("one two").detail)
    assert other.cached.refresh("one two") == ["answer 1"]
    assert slow.ask() == ["answer 1"]
    assert (len(slow.calls), slow.cached.stats().stale_hits) == (1, 0)


def test_tags_are_those_of_the_arguments_as_they_were() -> None:
    """The new answer has the tags of the call that was answered, whatever its caller does with its arguments since."""
    clock, go_on = Clock(), threading.Event()
    go_on.set()
    known: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "storage": InMemoryStorage(clock=clock)}

    @semantic_cache(**known, version="1", ttl=10, stale_while_revalidate=100, tags=lambda kw, _: kw["documents"])
    def ask(prompt: str, documents: list[str]) -> str:
        assert go_on.wait(10)
        return prompt

    documents = ["mine"]
    ask("why", documents)
    clock.advance(50)
    go_on.clear()
    ask("why", documents)
    documents[0] = "yours"
    go_on.set()
    until(lambda: not is_revalidating())
    assert ask.stats().stored == 2
    assert ask.cache.invalidate_tag("yours") == 0
    assert ask.cache.invalidate_tag("mine") == 1
