"""`wrong`: an answer that was served is wrong, and is never served for that prompt again."""

from __future__ import annotations

import asyncio
import json
import threading
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.angles import Angles

import recallm
from recallm import InMemoryStorage, NullStorage, RedisStorage, SQLiteStorage, semantic_cache, standalone
from recallm.errors import NotKeptError
from recallm.evaluation.pairs import labelled
from recallm.records import Entry, Stored
from recallm.testing import Clock, FakeEmbedder


def cached(storage: Any = None, *, asynchronous: bool = False, made: dict[str, int] | None = None, **given: Any) -> Any:
    """Return a cached function that numbers its answers to a prompt, as another process would make it, too."""
    made = {} if made is None else made
    known = {"context": {}, "embedder": Angles(), "guards": (), "threshold": 0.8, "version": "1", "namespace": "n"}

    def answer(prompt: str) -> str:
        made[prompt] = made.get(prompt, 0) + 1
        return f"{prompt}, {made[prompt]}"

    async def later(prompt: str) -> str:
        return answer(prompt)

    storage = InMemoryStorage() if storage is None else storage
    wrapped: Any = semantic_cache(storage=storage, **{**known, **given})(later if asynchronous else answer)
    return wrapped


def test_a_similar_answer_that_is_wrong_gives_way_to_an_own_one(asynchronous: bool) -> None:
    """After `wrong` the prompt is answered by its own call, whose answer is served from then on; others keep theirs."""
    ask = cached(asynchronous=asynchronous)

    async def run() -> list[Any]:
        async def call(prompt: str) -> Any:
            return await ask(prompt) if asynchronous else ask(prompt)

        async def wrong(prompt: str) -> Any:
            return await ask.awrong(prompt) if asynchronous else ask.wrong(prompt)

        return [
            await call("a cat"),
            await call("0.9 dog"),
            await wrong("0.9 dog"),
            await call("0.9 dog"),
            await call("0.9 dog"),
            await call("a cat"),
            await call("0.95 bird") in ("a cat, 1", "0.9 dog, 1"),
        ]

    expected = ["a cat, 1", "a cat, 1", True, "0.9 dog, 1", "0.9 dog, 1", "a cat, 1", True]
    assert asyncio.run(run()) == expected
    stats = ask.stats()
    assert (stats.hits, stats.misses) == (4, 2)
    assert (stats.reported_wrong, stats.wrong, stats.audited, stats.wrong_rate) == (1, 1, 0, 0.0)
    assert "reported_wrong  1" in repr(stats)
    assert stats.errors == {}


def test_an_own_answer_that_is_wrong_is_removed_and_no_similar_one_takes_its_place() -> None:
    """After `wrong` on an exact hit the function is called, though a similar prompt's answer is there."""
    ask = cached()
    ask("a cat")
    ask.refresh("0.9 dog")
    assert ask("0.9 dog") == "0.9 dog, 1"
    assert ask.wrong("0.9 dog") is True
    assert ask("0.9 dog") == "0.9 dog, 2"
    assert ask.wrong("0.9 dog") is True
    assert ask("0.9 dog") == "0.9 dog, 3"


def test_an_empty_prompt_is_reported_like_any() -> None:
    """A refusal, which has no prompt, does not pass for the answer to an empty one."""
    ask = cached(embedder=FakeEmbedder())
    assert [ask(""), ask.wrong(""), ask(""), ask("")] == [", 1", True, ", 2", ", 2"]
    assert ask.stats().errors == {}


def test_without_similar_hits_the_answer_is_removed() -> None:
    """With `threshold="exact"` the answer that is wrong is removed, and nothing stays in its place."""
    ask = cached(threshold="exact")
    ask("a cat")
    assert ask.wrong("a cat") is True
    assert ask.stats().namespace_sizes == {}
    assert ask("a cat") == "a cat, 2"


def test_what_nobody_would_be_served_is_not_counted() -> None:
    """If no answer would be served, `wrong` returns False and counts nothing; similar ones stay out all the same."""
    ask = cached()
    assert ask.wrong("0.9 dog") is False
    ask("a cat")
    assert ask("0.9 dog") == "0.9 dog, 1"
    assert ask.stats().reported_wrong == 0


def test_the_own_answer_may_expire_and_the_refusal_stays() -> None:
    """When the prompt's own answer has expired, or was invalidated, the function is called again."""
    clock = Clock()
    ask = cached(InMemoryStorage(clock=clock), ttl=10)
    ask("a cat")
    ask.wrong("0.9 dog")
    assert ask("0.9 dog") == "0.9 dog, 1"
    clock.advance(20)
    ask("a cat")
    assert ask("0.9 dog") == "0.9 dog, 2"
    assert ask.invalidate("0.9 dog") == 1
    assert ask("0.9 dog") == "0.9 dog, 3"
    assert ask.refresh("0.9 dog") == "0.9 dog, 4"
    assert ask("0.9 dog") == "0.9 dog, 4"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_refusal_stays_in_a_full_storage(kind: str, tmp_path: Path) -> None:
    """However many answers make room, the refusal is there as long as the answer that was wrong may be."""
    keeps_to_it(InMemoryStorage(max_entries=4) if kind == "memory" else SQLiteStorage(tmp_path / "a.db", max_entries=4))


def test_the_refusal_stays_in_a_full_redis(redis_server: Any) -> None:
    """So it is where the oldest entries of a namespace make room."""
    redis_server.empty()
    keeps_to_it(RedisStorage.from_url(redis_server.url, max_entries=4))


def keeps_to_it(storage: Any) -> None:
    """Have two prompts' answers reported, and then many others stored."""
    ask = cached(storage)
    ask("a cat"), ask("0.9 dog"), ask("0.95 bird")
    assert ask.wrong("0.9 dog") is ask.wrong("0.95 bird") is True
    for number in range(12):
        ask.refresh("a cat")
        ask.refresh(f"-0.9 {number}")
    assert ask("a cat").startswith("a cat, ")
    assert ask("0.9 dog") == "0.9 dog, 1"
    assert ask("0.95 bird") == "0.95 bird, 1"
    assert ask.stats().errors == {}
    assert ask.stats().evicted > 0


def test_explain_tells_of_it() -> None:
    """`explain` says that the prompt is answered by its own calls, and then finds its own answer."""
    ask = cached()
    ask("a cat")
    ask.wrong("0.9 dog")
    assert (ask.explain("0.9 dog").outcome, ask.explain("0.9 dog").reason) == ("miss", "reported")
    ask("0.9 dog")
    assert (ask.explain("0.9 dog").outcome, ask.explain("0.9 dog").exact) == ("hit", True)


def test_other_processes_keep_to_it() -> None:
    """A cache that shares the storage, as another process would, does not serve the answer either."""
    shared = InMemoryStorage()
    one, other = cached(shared), cached(shared)
    one("a cat")
    assert other("0.9 dog") == "a cat, 1"
    assert one.wrong("0.9 dog") is True
    assert other("0.9 dog") == "0.9 dog, 1"
    assert one("0.9 dog") == "0.9 dog, 1"


def test_other_processes_keep_to_it_on_redis(redis_server: Any) -> None:
    """So does one that shares a Redis, sync or async."""
    redis_server.empty()
    one = cached(redis_server.url)
    one("a cat")
    assert one("0.9 dog") == "a cat, 1"
    assert one.wrong("0.9 dog") is True
    other = cached(RedisStorage.from_url(redis_server.url))
    assert other("0.9 dog") == "0.9 dog, 1"
    assert one("0.9 dog") == "0.9 dog, 1"
    assert one.invalidate("0.9 dog") == 1

    async def later() -> list[Any]:
        third = cached(RedisStorage.from_url(redis_server.url), asynchronous=True)
        first = [await third("0.9 dog"), await third("0.99 bird"), await third.awrong("0.99 bird")]
        return [*first, await third("0.99 bird")]

    assert asyncio.run(later()) == ["0.9 dog, 1", "a cat, 1", True, "0.99 bird, 1"]


def test_a_conversation_is_reported_as_a_whole() -> None:
    """If the history may be similar, a report counts for the whole conversation."""

    @semantic_cache(context={}, embedder=FakeEmbedder(), guards=(), threshold=0.8, history="similar")
    def ask(messages: list[dict[str, str]]) -> str:
        return messages[0]["content"]

    def conversation(first: str) -> list[dict[str, str]]:
        turns = [("user", first), ("assistant", "here it is"), ("user", "and why?")]
        return [{"role": role, "content": text} for role, text in turns]

    assert ask(conversation("show me my plan")) == "show me my plan"
    assert ask(conversation("my plan show me")) == "show me my plan"
    assert ask.wrong(conversation("my plan show me")) is True
    assert ask(conversation("my plan show me")) == "my plan show me"
    assert ask(conversation("plan my show me")) in ("show me my plan", "my plan show me")


def test_a_report_counts_however_the_last_turn_is_rewritten() -> None:
    """A rewriter may find other words another time, as a model does: the conversation's report counts all the same."""
    words, calls = iter(["0.99 winter", "0.98 winter", *["0.97 winter"] * 4]), count(1)
    known: dict[str, Any] = {
        "context": {},
        "embedder": Angles(),
        "guards": (),
        "threshold": 0.8,
        "version": "1",
        "namespace": "n",
    }
    prompt = standalone(lambda messages: next(words), memo_bytes=1)

    def answer(messages: list[dict[str, str]]) -> int:
        return next(calls)

    ask: Any = semantic_cache(storage=InMemoryStorage(), prompt=prompt, **known)(answer)
    talk = [{"role": "user", "content": text} for text in ("weather in oslo", "and in winter")]
    ask([{"role": "user", "content": "winter in oslo"}])
    assert ask(talk) == 1
    assert ask.wrong(talk) is True
    assert ask(talk) == 2
    assert ask(talk) == 2
    assert ask.invalidate(talk) > 0
    assert ask(talk) == 3
    assert ask.stats().errors == {}


def test_the_pair_goes_labelled_to_a_recording(tmp_path: Path) -> None:
    """A recording has the pair that was reported as not the same, which `evaluate` and `tune` read."""
    path = tmp_path / "pairs.jsonl"
    ask = cached()
    with recallm.record(path):
        ask("a cat")
        ask("0.9 dog")
        ask.wrong("0.9 dog")
        ask.wrong("a cat")  # its own answer makes no pair
    served, reported = [json.loads(line) for line in path.read_text().splitlines()]
    assert (served["same"], reported["same"]) == (None, False)
    assert (reported["prompt"], reported["cached_prompt"]) == ("0.9 dog", "a cat")
    assert [(pair.a, pair.b, pair.same) for pair in labelled(path).pairs] == [("0.9 dog", "a cat", False)]


prompts = st.sampled_from(["a cat", "0.99 dog", "0.9 bird", "0.95 fish"])
steps = st.lists(
    st.tuples(st.sampled_from(["call", "call", "call", "wrong", "refresh", "invalidate"]), prompts), max_size=25
)


@given(steps)
def test_no_answer_that_was_reported_is_ever_served_to_its_prompt_again(taken: list[tuple[str, str]]) -> None:
    """Whatever is called, reported, refreshed and invalidated in whatever order, by two processes."""
    shared, made = InMemoryStorage(), dict[str, int]()
    sites = [cached(shared, made=made), cached(shared, made=made)]
    last: dict[str, str] = {}
    reported: dict[str, set[str]] = {}
    for place, (step, prompt) in enumerate(taken):
        ask = sites[place % 2]
        if step == "call":
            last[prompt] = ask(prompt)
            assert last[prompt] not in reported.get(prompt, set())
            assert prompt not in reported or last[prompt].startswith(prompt)
        elif step == "wrong":
            ask.wrong(prompt)
            reported.setdefault(prompt, set()).update({last[prompt]} if prompt in last else set())
        else:
            getattr(ask, step)(prompt)
    assert [site.stats().errors for site in sites] == [{}, {}]


def test_a_call_that_is_under_way_does_not_undo_it() -> None:
    """A report while the function works is not overwritten by the answer that the call was to store."""
    ask = cached()
    ask("a cat")
    inner: list[Any] = []

    @semantic_cache(context={}, embedder=Angles(), guards=(), threshold=0.8, storage=InMemoryStorage())
    def slow(prompt: str) -> str:
        if not inner:
            inner.append(slow.wrong(prompt))
        return f"{prompt}, {len(inner)}"

    assert slow("0.9 dog") == "0.9 dog, 1"
    inner.append(None)
    assert slow("a cat") == "a cat, 2"
    inner.append(None)
    assert slow("0.9 dog") == "0.9 dog, 3"
    assert slow("0.9 dog") == "0.9 dog, 3"


class Overwritten(InMemoryStorage):
    """A storage in which another call puts its answer in the place of the first refusals, some times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store an entry, and then perhaps another one."""
        stored = super().put(entry, epoch, ttl)
        if not entry.prompt and self.times:
            self.times -= 1
            super().put(entry._replace(prompt="0.9 dog", payload=b"\x01sa late answer"), epoch, ttl)
        return stored


def test_a_refusal_that_is_overwritten_is_stored_again() -> None:
    """A call that stores its answer between the steps of a report does not undo it."""
    ask = cached(Overwritten(3))
    ask("a cat")
    assert ask.wrong("0.9 dog") is True
    assert ask("0.9 dog") == "0.9 dog, 1"


def test_a_refusal_that_is_never_kept_is_told() -> None:
    """If a storage keeps answers and no refusal, `wrong` raises: nobody may count on it."""
    ask = cached(Overwritten(1000))
    ask("a cat")
    with pytest.raises(NotKeptError, match="report it again"):
        ask.wrong("0.9 dog")
    assert ask.stats().reported_wrong == 0


class Contended(SQLiteStorage):
    """A file that reads vectors with its entries, in which somebody removes another entry before the first puts."""

    times = 0
    keeps = True

    def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
        """Store an entry, if at all, after the removal of another one."""
        if self.times:
            self.times -= 1
            self.remove(entry.namespace, ["another"])
        return super().put(entry, epoch, ttl) if self.keeps else Stored(kept=False)


def test_a_report_is_kept_though_others_remove_entries_meanwhile(tmp_path: Path) -> None:
    """An epoch that ends between the steps of a report of an own answer does not keep it from being stored."""
    storage = Contended(tmp_path / "answers.db")
    ask = cached(storage)
    ask("a cat")
    storage.times = 3
    assert ask.wrong("a cat") is True
    assert [ask("a cat"), ask("a cat")] == ["a cat, 2", "a cat, 2"]


def test_a_report_that_a_file_does_not_take_is_told(tmp_path: Path) -> None:
    """If a file may not be written, so that the answer stays there, `wrong` raises."""
    storage = Contended(tmp_path / "answers.db")
    ask = cached(storage)
    ask("a cat")
    storage.keeps = False
    with pytest.raises(NotKeptError, match="report it again"):
        ask.wrong("a cat")


def test_a_storage_that_keeps_nothing_serves_nothing() -> None:
    """With a `NullStorage` there is nothing to report, and nothing raises."""
    ask = cached(NullStorage())
    ask("a cat")
    assert ask.wrong("a cat") is False


def test_a_storage_in_trouble_is_told() -> None:
    """Whoever reports an answer must know whether the storage has it: its exception is raised."""

    class Failing(InMemoryStorage):
        def put(self, entry: Entry, epoch: int, ttl: float | None) -> Stored:
            raise ConnectionError("away")

    with pytest.raises(ConnectionError):
        cached(Failing()).wrong("a cat")


def test_calls_that_begin_after_a_report_keep_to_it() -> None:
    """While threads ask, calls that begin once `wrong` has returned are never answered by another prompt's answer."""
    ask = cached()
    ask("a cat")
    reported, late = threading.Event(), list[str]()

    def keep_asking() -> None:
        for _ in range(200):
            after = reported.is_set()
            answer = ask("0.9 dog")
            if after:
                late.append(answer)

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    ask.wrong("0.9 dog")
    reported.set()
    late.append(ask("0.9 dog"))
    for thread in threads:
        thread.join(30)
    assert {answer.rpartition(",")[0] for answer in late} == {"0.9 dog"}
    assert ask.stats().errors == {}
