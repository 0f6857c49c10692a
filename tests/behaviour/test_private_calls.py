"""Calls that `skip_if` names are none of the cache's: nothing of them is kept, sent, logged or counted by content."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from support.redis_servers import LAYOUTS, Server

import recallm
from recallm import InMemoryStorage, RecallmWarning, semantic_cache
from recallm.storage.redis.storage import RedisStorage
from recallm.testing import FakeEmbedder

NAME = "Ada-Lovelace-1815"
PRIVATE, PUBLIC = f"what ails {NAME}", "what ails people"


def is_private(kw: Any) -> bool:
    """Return whether a call is about the patient."""
    return NAME in kw["question"] or kw["user"] == NAME


def contents(server: Server) -> bytes:
    """Return all that a server holds: names of keys, fields of hashes, and everything as it dumps it."""
    with server.client() as client:
        found: list[bytes] = []
        for key in client.keys("*"):
            found += [key, client.dump(key) or b""]
            if client.type(key) == b"hash":
                found += [part for item in client.hgetall(key).items() for part in item]
        return b"\n".join(found)


class Lookout:
    """A context, a namespace and a `store_if` that tell whether they were asked about a private call."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def options(self) -> dict[str, Any]:
        """Return the options, all of which would see the call."""

        def context(kw: Any) -> dict[str, Any]:
            self.asked.append(kw["question"])
            return {}

        return {"context": context, "namespace": lambda kw: kw["user"], "prompt": lambda kw: kw["question"]}


def test_no_private_text_reaches_a_shared_storage_nor_anything_else(
    redis_server: Server,
    asynchronous: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A real server, the log, warnings, a recording, metrics, statistics and the embedder never see a skipped call."""
    caplog.set_level(logging.DEBUG)
    registry = CollectorRegistry()
    recallm.use_metrics_registry(registry)
    embedder, lookout = FakeEmbedder(), Lookout()

    def answer(question: str, user: str = "u") -> str:
        return f"{question} of {user}"

    async def later(question: str, user: str = "u") -> str:
        return answer(question, user)

    storage = RedisStorage.from_url(redis_server.url, layout=LAYOUTS[redis_server.kind], timeout=5.0)
    options = {"storage": storage, "embedder": embedder, "version": "1", "name": "clinic", **lookout.options()}
    ask: Any = semantic_cache(skip_if=is_private, **options)(later if asynchronous else answer)

    def asked(*args: str) -> Any:
        return asyncio.run(ask(*args)) if asynchronous else ask(*args)

    with warnings.catch_warnings(record=True) as warned, recallm.record(tmp_path / "pairs.jsonl"):
        warnings.simplefilter("always")
        for _ in range(2):
            assert asked(PUBLIC) == f"{PUBLIC} of u"
            assert asked(PRIVATE) == f"{PRIVATE} of u"
            assert asked(PUBLIC, NAME) == f"{PUBLIC} of {NAME}"
    stats = ask.stats()
    assert (stats.bypasses, stats.stored, stats.hits, stats.errors) == ({"skipped": 4}, 1, 1, {})
    seen = [contents(redis_server).decode("latin-1"), (tmp_path / "pairs.jsonl").read_text(), caplog.text, repr(stats)]
    seen += [str(each.message) for each in warned] + [generate_latest(registry).decode(), repr(ask), repr(ask.cache)]
    seen += [*embedder.embedded, *lookout.asked]
    assert PUBLIC in seen[0]
    assert not [each for each in seen if NAME in each]
    assert 'recallm_bypasses_total{cache="clinic",reason="skipped"} 4.0' in generate_latest(registry).decode()
    assert (asyncio.run(ask.aclear()) if asynchronous else ask.clear()) == 1


class Asked:
    """A predicate that does what it is told, and a function that is called for what it skips."""

    def __init__(self, skip: Callable[[Any], Any], **options: Any) -> None:
        self.embedder = FakeEmbedder()
        self.seen: list[dict[str, Any]] = []

        def skip_if(kw: Any) -> Any:
            self.seen.append(dict(kw))
            return skip(kw)

        known = {"context": {}, "storage": InMemoryStorage(), "embedder": self.embedder, "skip_if": skip_if}

        def answer(question: str, *rest: int, n: int = 1, **more: Any) -> str:
            return question

        self.ask: Any = semantic_cache(**{**known, **options})(answer)


def test_the_predicate_sees_every_argument_by_name() -> None:
    """Positional arguments are bound, defaults applied, the cache's own keywords left out."""
    asked = Asked(lambda kw: True)
    asked.ask("q", 1, 2, other=3, cache_ttl=5)
    assert asked.seen == [{"question": "q", "rest": (1, 2), "n": 1, "other": 3}]


def test_a_skipped_call_needs_no_context_and_is_explained() -> None:
    """It is none of the cache's, so the cache asks nothing of it, and `explain` tells why."""
    asked = Asked(lambda kw: True, context=None)
    assert asked.ask("q") == "q"
    explained = asked.ask.explain("q")
    assert (explained.outcome, explained.reason, explained.detail) == ("bypass", "skipped", None)
    assert asked.ask.refresh("q") == "q"
    assert (asked.ask.stats().stored, asked.embedder.embedded) == (0, [])


def test_what_was_stored_before_it_was_private_can_be_removed() -> None:
    """`invalidate` finds the answer of a call that is skipped by now, and the one of a call that says "off"."""
    storage, private = InMemoryStorage(), False
    asked = Asked(lambda kw: private, storage=storage, version="1", namespace="n")
    asked.ask("q"), asked.ask("r")
    private = True
    assert asked.ask.explain("q").reason == "skipped"
    assert asked.ask.invalidate("q") == 1
    assert asked.ask.invalidate("r", cache_serve="off") == 1
    assert storage.sizes(["n"]) == {}


class Unsure:
    """Has no truth."""

    def __bool__(self) -> bool:
        raise RuntimeError(NAME)


async def agree() -> bool:
    """Agree, later."""
    return True


def raise_it(kw: Any) -> Any:
    """Raise, with what was asked."""
    raise KeyError(NAME)


def refuse(kw: Any) -> Any:
    """Raise what recallm raises for a mistake in the configuration."""
    raise recallm.RecallmError(NAME)


@pytest.mark.parametrize("skip", [raise_it, refuse, lambda kw: Unsure(), lambda kw: agree(), lambda kw: kw["absent"]])
def test_a_predicate_in_trouble_risks_nothing(skip: Callable[[Any], Any], caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be told may be private: the function is called, nothing is kept, and the author is told once."""
    asked = Asked(skip)
    with pytest.warns(RecallmWarning, match="skip_if= of .* raised .*, so the call was not cached") as told:
        assert [asked.ask("q") for _ in range(3)] == ["q"] * 3
    assert len(told) == 1
    stats = asked.ask.stats()
    assert (stats.bypasses, stats.errors, stats.stored) == ({"skip_if": 3}, {"skip_if": 3}, 0)
    assert asked.embedder.embedded == []
    assert NAME not in caplog.text + "".join(str(each.message) for each in told)


def test_what_becomes_private_while_the_call_waits_is_not_stored() -> None:
    """The predicate is asked again right before the function is called."""
    answers: Iterator[bool] = iter([False, True])
    asked = Asked(lambda kw: next(answers), ignore=("self",))
    with pytest.warns(RecallmWarning, match="changed while the call waited"):
        asked.ask("q")
    assert asked.ask.stats().stored == 0


def test_methods_are_skipped_by_what_their_object_holds() -> None:
    """`self` is among the arguments."""

    class Clinic:
        def __init__(self, private: bool) -> None:
            self.private = private

        @semantic_cache(
            context={}, storage=InMemoryStorage(), embedder=FakeEmbedder(), skip_if=lambda kw: kw["self"].private
        )
        def ask(self, question: str) -> str:
            return question

    Clinic(True).ask("q")
    Clinic(False).ask("q")
    assert Clinic(True).ask.stats().bypasses == {"skipped": 1}
    assert Clinic(True).ask.stats().stored == 1
