"""Embedders and storages that fail, lie or hang: the caller gets the function's answer in time."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest
from support.faulty import (
    HANG_SECONDS,
    PATIENT,
    Function,
    HangingEmbedder,
    Obstinate,
    Returning,
    changed,
    lying,
    returning,
)
from support.ids import named

from recallm import CacheConfig, InMemoryStorage, semantic_cache
from recallm.records import Candidate, Entry, Recalled, Stored
from recallm.scoring import normalise
from recallm.testing import Clock, FakeEmbedder

PRIVATE_PROMPT = "prompt-4711"
PRIVATE_CONTEXT = "context-4712"
PRIVATE_RESPONSE = "response-4713"
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "vector",
    [
        [NAN, 1.0, 1.0, 1.0],
        [INF, 1.0, 1.0, 1.0],
        [0.0, 0.0, 0.0, 0.0],
        [],
        [[1.0, 2.0], [3.0]],
        [[1.0, 2.0, 3.0, 4.0]],
        None,
        1.0,
        "vector",
        ["1.0", "x"],
        [None, 1.0],
        {"embedding": [1.0]},
        object(),
        [10**400],
        [1j, 2.0],
    ],
    ids=lambda value: named(value, 24),
)
def test_an_odd_vector_is_a_miss_and_nothing_is_kept(vector: Any, asynchronous: bool) -> None:
    """A malformed vector makes the call a miss, is counted as an error, and no answer is stored."""
    function = Function(asynchronous=asynchronous, embedder=Returning(vector))
    assert [function.ask("q"), function.ask("q")] == ["answer 1", "answer 2"]
    assert function.counted() == (0, 2, 0)
    assert dict(function.cached.stats().errors) == {"embedding": 2}
    assert function.cached.stats().namespace_sizes == {}


def test_a_vector_of_another_dimension_is_a_miss_and_not_kept(asynchronous: bool) -> None:
    """A vector of another dimension is a miss and not stored, and earlier entries still answer."""
    embedder = FakeEmbedder(dim=4)
    function = Function(asynchronous=asynchronous, embedder=embedder)
    assert function.ask("a b") == "answer 1"
    embedder.vectors["other"] = [1.0, 2.0]
    assert [function.ask("other"), function.ask("other")] == ["answer 2", "answer 3"]
    assert function.ask("b a") == "answer 1"
    assert function.counted() == (1, 3, 1)
    assert dict(function.cached.stats().errors) == {"embedding": 2}


def test_an_odd_first_vector_does_not_set_the_dimension_for_good() -> None:
    """Two vectors in a row of another length than the first replace the dimension that the first one set."""
    embedder = FakeEmbedder(dim=4)
    embedder.vectors["first"] = [1.0, 2.0]
    function = Function(embedder=embedder, context=lambda kw: {"question": kw["question"] == "first"})
    for question in ("first", "a b", "c d", "e f", "f e"):
        function.ask(question)
    assert function.counted() == (1, 4, 3)


class Panic(BaseException):
    """The `BaseException`, not an `Exception`, that a Rust extension raises if its code panics."""


@pytest.mark.parametrize(
    "error",
    [ConnectionError(), MemoryError(), RecursionError(), SystemExit(), Panic(), asyncio.CancelledError()],
    ids=repr,
)
def test_an_embedder_that_raises_is_a_bypass(error: BaseException, asynchronous: bool) -> None:
    """An embedder's exception, even one that would end its thread, makes the call a bypass."""
    function = Function(asynchronous=asynchronous, embedder=Returning(error))
    assert function.ask("q") == "answer 1"
    assert function.counted() == (0, 0, 0)
    stats = function.cached.stats()
    assert dict(stats.bypasses) == dict(stats.errors) == {"embedding": 1}


@pytest.mark.parametrize(("where", "stage"), [("load", "model"), ("embed", "embedding")])
def test_an_embedder_that_hangs_is_left_behind(
    where: str, stage: str, asynchronous: bool, released: threading.Event
) -> None:
    """If the embedder hangs, the call goes on to the function when the time limit is over."""
    limits: dict[str, Any] = {f"{where}_timeout_seconds": 0.1}
    config = replace(PATIENT, **limits)
    function = Function(asynchronous=asynchronous, embedder=HangingEmbedder(where, released), config=config)
    began = perf_counter()
    assert function.ask("q") == "answer 1"
    assert perf_counter() - began < HANG_SECONDS / 2
    stats = function.cached.stats()
    assert dict(stats.bypasses) == dict(stats.errors) == {stage: 1}
    assert stats.stored == 0


def test_a_hundred_calls_of_a_hung_embedder_end(released: threading.Event) -> None:
    """Once a hung embedder occupies every worker, further calls go to the function without waiting."""
    config = replace(PATIENT, embed_timeout_seconds=0.02)
    function = Function(embedder=HangingEmbedder("embed", released), config=config)
    began = perf_counter()
    for number in range(100):
        function.ask(f"question {number}")
    assert perf_counter() - began < HANG_SECONDS / 2
    assert function.ran == 100
    assert dict(function.cached.stats().bypasses) == {"embedding": 100}


ERRORS = [ConnectionError("away"), TimeoutError(), KeyError("q"), AssertionError(), RuntimeError()]
GARBAGE: list[Any] = [None, "garbage", 7, [None], {}, *ERRORS]


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
@pytest.mark.parametrize("operation", ["recall", "search"])
def test_a_storage_that_raises_or_returns_garbage_is_a_bypass(operation: str, garbage: Any, asynchronous: bool) -> None:
    """If a look-up in the storage raises or returns garbage, the call is a bypass and the error is counted."""
    replaced: dict[str, Any] = {operation: returning(garbage)}
    function = Function(asynchronous=asynchronous, storage=Obstinate(**replaced))
    assert function.ask("a b") == "answer 1"
    stats = function.cached.stats()
    if operation == "search" and garbage == {}:
        assert (stats.misses, stats.stored) == (1, 1)
        return
    assert dict(stats.bypasses) == dict(stats.errors) == {"storage": 1}
    assert (stats.hits, stats.misses, stats.stored) == (0, 0, 0)


@pytest.mark.parametrize("garbage", [None, "x", 7, Stored("x", None), {}], ids=repr)  # type: ignore[arg-type]
def test_a_storage_that_tells_garbage_of_a_put_is_in_trouble(garbage: Any, asynchronous: bool) -> None:
    """If a put returns garbage, the caller has the answer, nothing counts as stored and an error is counted."""
    function = Function(asynchronous=asynchronous, storage=Obstinate(put=returning(garbage)))
    assert function.ask("q") == "answer 1"
    assert function.counted() == (0, 1, 0)
    assert dict(function.cached.stats().errors) == {"storage": 1}


@pytest.mark.parametrize("garbage", [None, "x", {"n": None}, {"n": "x"}, 7], ids=repr)
def test_sizes_that_are_none_are_left_out_of_the_statistics(garbage: Any) -> None:
    """Sizes that are not valid are left out of the statistics, which can still be shown."""
    function = Function(storage=Obstinate(sizes=returning(garbage)))
    function.ask("q")
    assert "CacheStats" in repr(function.cached.stats())
    assert function.cached.stats().namespace_sizes == {}
    assert function.cached.cache_info().currsize == 0


@pytest.mark.parametrize("similarity", [NAN, 0.2, None, "x"])
def test_an_exact_entry_is_as_similar_as_can_be(similarity: Any, asynchronous: bool) -> None:
    """An entry of the very prompt is not served if the storage reports a similarity other than 1."""

    def recall(own: Any, *args: Any) -> Recalled:
        recalled = own(*args)
        found = recalled.candidate
        return Recalled(None if found is None else found._replace(similarity=similarity), recalled.epoch)

    storage = Obstinate(recall=recall, search=returning([]))
    function = Function(asynchronous=asynchronous, storage=storage)
    assert [function.ask("q"), function.ask("q")] == ["answer 1", "answer 2"]
    assert function.counted() == (0, 2, 2)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_storage_that_cannot_keep_is_a_miss(error: Exception, asynchronous: bool) -> None:
    """If a put raises, the call is a miss, the caller has the answer and an error is counted."""
    function = Function(asynchronous=asynchronous, storage=Obstinate(put=returning(error)))
    assert [function.ask("q"), function.ask("q")] == ["answer 1", "answer 2"]
    assert function.counted() == (0, 2, 0)
    assert dict(function.cached.stats().errors) == {"storage": 2}


@pytest.mark.parametrize("operation", ["recall", "search", "put"])
def test_a_storage_that_hangs_is_left_behind(operation: str, asynchronous: bool, released: threading.Event) -> None:
    """If the storage hangs, the call goes on when the time limit is over."""

    def hang(*_: Any) -> Any:
        released.wait(HANG_SECONDS)

    replaced: dict[str, Any] = {operation: hang}
    storage = Obstinate(**replaced)
    config = CacheConfig(cache_timeout_seconds=0.3)
    function = Function(asynchronous=asynchronous, storage=storage, config=config)
    began = perf_counter()
    assert function.ask("q") == "answer 1"
    assert perf_counter() - began < HANG_SECONDS / 2
    stats = function.cached.stats()
    assert dict(stats.errors) == {"storage": 1}
    assert dict(stats.bypasses) == ({} if operation == "put" else {"storage": 1})
    assert stats.hits == stats.stored == 0


def test_statistics_are_had_while_the_storage_is_away(asynchronous: bool) -> None:
    """If the storage cannot report sizes, the statistics leave them out and count an error."""
    function = Function(asynchronous=asynchronous, storage=Obstinate(sizes=returning(ConnectionError())))
    function.ask("q")
    stats = function.cached.stats()
    assert (stats.misses, stats.stored, stats.namespace_sizes) == (1, 1, {})
    assert dict(function.cached.stats().errors) == {"storage": 2}


def test_explaining_does_without_the_near_misses(asynchronous: bool) -> None:
    """If the search for near misses raises, `explain` still reports the miss, without a similarity."""

    def search(own: Any, *args: Any) -> Any:
        if args[3] < 0:
            raise ConnectionError
        return own(*args)

    function = Function(asynchronous=asynchronous, storage=Obstinate(search=search))
    explained = function.cached.explain("q")
    assert (explained.outcome, explained.reason, explained.similarity) == ("miss", "unlike", None)


@pytest.mark.parametrize("trouble", ["hangs", "raises", "refuses"])
def test_a_verifier_in_trouble_is_a_miss(trouble: str, asynchronous: bool, released: threading.Event) -> None:
    """If a verifier hangs, raises or refuses, the function answers in time and its answer is stored."""

    def verify(prompt: str, cached_prompt: str, response: Any) -> bool:
        if trouble == "raises":
            raise ConnectionError
        return trouble == "hangs" and released.wait(HANG_SECONDS)

    config = replace(PATIENT, verify_timeout_seconds=0.3)
    function = Function(asynchronous=asynchronous, verify=verify, config=config)
    began = perf_counter()
    assert [function.ask("a b"), function.ask("b a")] == ["answer 1", "answer 2"]
    assert perf_counter() - began < HANG_SECONDS / 2
    assert function.counted() == (0, 2, 2)
    stats = function.cached.stats()
    expected: tuple[Any, Any] = ({}, {"verify": 1}) if trouble == "refuses" else ({"verify": 1}, {})
    assert (dict(stats.errors), dict(stats.vetoes)) == expected


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"partition": "0" * 40}, None),
        ({"partition": None}, None),
        ({"namespace": "another"}, None),
        ({"seconds": NAN}, None),
        ({"seconds": -1.0}, None),
        ({"tokens": -1}, None),
        ({"cost": -1.0}, None),
        ({"cost": float("inf")}, None),
        ({"seconds": "x"}, "storage"),
        ({"tokens": None}, "storage"),
        ({"payload": b""}, "codec"),
        ({"payload": b"garbage"}, "codec"),
        ({"payload": b"\x80\x04."}, "codec"),
        ({"payload": b"cos\nsystem\n(S'true'\ntR."}, "codec"),
        ({"payload": None}, "storage"),
        ({"payload": "text"}, "storage"),
    ],
)
def test_a_foreign_or_corrupt_entry_is_never_served(
    changes: dict[str, Any], error: str | None, asynchronous: bool
) -> None:
    """A foreign or corrupt entry is served neither by key nor by similarity, and a corrupt one counts as an error."""
    function = Function(asynchronous=asynchronous, storage=Obstinate(**lying(**changes)))
    answers = [function.ask(question) for question in ("a b", "a b", "b a")]
    assert answers == ["answer 1", "answer 2", "answer 3"]
    stats = function.cached.stats()
    assert stats.hits == 0
    assert set(stats.errors) <= {"codec", "storage"}
    assert bool(stats.errors) == (error is not None)


def test_an_entry_of_another_prompt_is_not_taken_for_this_one(asynchronous: bool) -> None:
    """If a storage answers a key with another prompt's entry, that entry is not served."""
    other = {"key": "f" * 40, "prompt": "a wholly different prompt"}
    function = Function(asynchronous=asynchronous, storage=Obstinate(**{**lying(**other), "search": returning([])}))
    assert [function.ask("q"), function.ask("q")] == ["answer 1", "answer 2"]
    assert function.cached.stats().hits == 0


@pytest.mark.parametrize("similarity", [NAN, INF, -INF, -1.0, 0.0, 0.5])
def test_a_similarity_below_the_threshold_is_never_served(similarity: float, asynchronous: bool) -> None:
    """A candidate below the threshold, or without a valid similarity, is not served though the storage returned it."""

    def search(own: Any, *args: Any) -> Sequence[Candidate]:
        return [Candidate(found.entry, similarity, found.age) for found in own(*args)]

    function = Function(asynchronous=asynchronous, storage=Obstinate(search=search))
    assert [function.ask("a b"), function.ask("b a")] == ["answer 1", "answer 2"]
    assert function.counted() == (0, 2, 2)


def test_an_entry_that_has_expired_is_never_served(asynchronous: bool) -> None:
    """An expired entry is found neither by its key nor by similarity."""
    clock = Clock()
    function = Function(asynchronous=asynchronous, storage=Obstinate(clock), ttl=10)
    assert [function.ask("a b"), function.ask("b a")] == ["answer 1"] * 2
    clock.advance(10.5)
    assert [function.ask("b a"), function.ask("a b")] == ["answer 2"] * 2
    assert function.counted() == (2, 2, 2)


def test_what_another_function_stored_is_never_served(asynchronous: bool) -> None:
    """A storage that ignores partitions cannot make the cache serve another function's entry."""
    foreign = changed(
        Entry("f" * 40, "n", "0" * 40, "a b", normalise([1.0, 2.0]), b'{"foreign": true}', 1.0, 0), partition="1" * 40
    )
    found = Candidate(foreign, 1.0, 0.0)
    storage = Obstinate(recall=returning(Recalled(found, 0)), search=returning([found] * 20))
    function = Function(asynchronous=asynchronous, storage=storage)
    assert [function.ask("a b"), function.ask("b a")] == ["answer 1", "answer 2"]
    assert function.counted()[0] == 0


def test_a_put_that_is_declined_is_not_counted_as_stored(asynchronous: bool) -> None:
    """An answer that the storage declined to keep is not counted as stored, nor as an error."""
    function = Function(asynchronous=asynchronous, storage=Obstinate(put=returning(Stored(kept=False))))
    assert [function.ask("q"), function.ask("q")] == ["answer 1", "answer 2"]
    assert function.counted() == (0, 2, 0)
    assert dict(function.cached.stats().errors) == {}


class DisclosingError(Exception):
    """An error whose text, arguments and notes hold the prompt."""

    def __init__(self) -> None:
        super().__init__(PRIVATE_PROMPT, PRIVATE_CONTEXT, PRIVATE_RESPONSE)
        self.add_note(PRIVATE_PROMPT)


class Unstorable:
    """A response that cannot be stored and whose text is private."""

    def __repr__(self) -> str:
        return PRIVATE_RESPONSE

    __str__ = __repr__


def fail(*_: Any) -> Any:
    """Fail with an error whose text holds private data."""
    raise DisclosingError


def gossip() -> dict[str, dict[str, Any]]:
    """Return options under which each stage of the cache fails with private data in its error."""
    corrupt = {"payload": PRIVATE_RESPONSE.encode()}
    return {
        "embedder": {"embedder": Returning(DisclosingError())},
        "odd vector": {"embedder": Returning(PRIVATE_PROMPT)},
        "recall": {"storage": Obstinate(recall=fail)},
        "search": {"storage": Obstinate(search=fail)},
        "put": {"storage": Obstinate(put=fail)},
        "codec": {"storage": Obstinate(**lying(**corrupt))},
        "guard": {"guards": (fail,)},
        "verify": {"verify": fail},
        "store_if": {"store_if": fail},
        "context": {"context": fail},
        "namespace": {"namespace": fail},
        "prompt": {"prompt": fail},
        "nothing": {},
    }


@pytest.mark.parametrize("stage", gossip())
def test_prompts_contexts_and_responses_are_never_logged(stage: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fails is logged without the prompt, the context, the response or a traceback."""
    kept = {
        "context": {"user": PRIVATE_CONTEXT},
        "embedder": FakeEmbedder(),
        "storage": InMemoryStorage(),
        "guards": (),
    }

    @semantic_cache(**{**kept, **gossip()[stage]}, config=PATIENT, name=f"log of {stage}")
    def answer(question: str, *, user: str = PRIVATE_CONTEXT) -> str:
        return PRIVATE_RESPONSE

    with caplog.at_level(logging.DEBUG):
        for question in (f"about {PRIVATE_PROMPT}", f"about {PRIVATE_PROMPT}", f"{PRIVATE_PROMPT} about"):
            assert answer(question) == PRIVATE_RESPONSE
    ours = [record for record in caplog.records if record.name.startswith("recallm")]
    assert bool(ours) == (stage != "nothing")
    logged = caplog.text + "".join(f"{vars(record)}" for record in caplog.records)
    for private in (PRIVATE_PROMPT, PRIVATE_CONTEXT, PRIVATE_RESPONSE):
        assert private not in logged
    assert not any(record.exc_info for record in caplog.records)


def test_a_response_that_cannot_be_stored_is_not_shown_in_the_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The warning about a response that cannot be stored names its type, once, and not its content."""
    kept: dict[str, Any] = {"context": {}, "embedder": FakeEmbedder(), "storage": InMemoryStorage()}
    response = Unstorable()

    @semantic_cache(**kept, ignore=("response",))
    def answer(question: str) -> Any:
        return response

    with caplog.at_level(logging.DEBUG), pytest.warns(UserWarning, match="Unstorable") as caught:
        assert answer("q") is answer("q") is response
    assert len(caught) == 1
    assert PRIVATE_RESPONSE not in caplog.text + str(caught[0].message)
    assert answer.stats().stored == 0
