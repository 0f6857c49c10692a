"""No message quotes what comes with a call: it may be a prompt, a user's id or a password."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import recallm
from recallm import InMemoryStorage, RecallmWarning, semantic_cache
from recallm.telemetry.advice import UNIQUE_MISSES
from recallm.testing import FakeEmbedder

CANARY = "my PIN is 1234"


class Told(Exception):  # noqa: N818  # it stands for any exception, with a prompt in its text
    """An exception of a part of the user's, with the canary in its text."""

    def __init__(self, *_: object) -> None:
        super().__init__(CANARY)


def fails(*_: object, **__: object) -> Any:
    """Raise."""
    raise Told


class Broken(InMemoryStorage):
    """A storage of which one operation raises."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        setattr(self, operation, fails)


class BrokenEmbedder(FakeEmbedder):
    """An embedder that raises."""

    def embed(self, text: str) -> Any:
        """Raise."""
        raise Told


class Odd:
    """An argument that has no canonical form."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def cached(function: Callable[..., Any] = lambda prompt, **others: "an answer", **options: Any) -> Any:
    """Return a cached function."""
    known: dict[str, Any] = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "threshold": 0.6}
    return semantic_cache(**{**known, **options})(function)


def twice(**options: Any) -> Callable[[], object]:
    """Return two calls of similar prompts, of a function with these options."""

    def call() -> None:
        ask = cached(**options)
        for prompt in (f"{CANARY} one", f"one {CANARY}"):
            ask(prompt)
        ask.stats()
        ask.explain(CANARY)

    return call


def many(**options: Any) -> Callable[[], object]:
    """Return so many calls that what differs in all of them is told."""

    def call() -> None:
        ask = cached(**options)
        for number in range(UNIQUE_MISSES + 1):
            ask(f"{number}", cache_context={CANARY: number})

    return call


async def _awaited() -> object:
    return await cached(_async_answer)(CANARY, cache_namespace=(CANARY,))


async def _async_answer(prompt: str) -> str:
    return "an answer"


MISTAKES: dict[str, Callable[[], object]] = {
    "a namespace that is a tuple": lambda: cached()(CANARY, cache_namespace=(CANARY,)),
    "a namespace that is bytes": lambda: cached()(CANARY, cache_namespace=CANARY.encode()),
    "a namespace of an async call": lambda: asyncio.run(_awaited()),
    "a namespace that is derived": lambda: cached(namespace=lambda kw: (kw["prompt"],))(CANARY),
    "a namespace that is empty": lambda: cached()(CANARY, cache_namespace=""),
    "a context that is a text": lambda: cached()(CANARY, cache_context=CANARY),
    "a context that is derived": lambda: cached(context=lambda kw: kw["prompt"])(CANARY),
    "no context": lambda: cached(context=None)(CANARY),
    "a ttl that is a text": lambda: cached()(CANARY, cache_ttl=CANARY),
    "a ttl that is none": lambda: cached()(CANARY, cache_ttl=-1234),
    "invalidating a tuple": lambda: recallm.invalidate_namespace((CANARY,)),  # type: ignore[arg-type]
    "invalidating a tuple of a cache": lambda: cached().cache.invalidate_namespace((CANARY,)),
    "invalidating, awaited": lambda: asyncio.run(recallm.ainvalidate_namespace((CANARY,))),  # type: ignore[arg-type]
    "an argument that is not taken": lambda: cached(lambda prompt: "an answer")(CANARY, **{CANARY: 1}),
    "an argument that is missing": lambda: cached(lambda prompt, other: "an answer")(CANARY),
    "a key of an argument": lambda: cached(lambda prompt, by: "an answer")(CANARY, {CANARY: Odd()}),
    "a key within brackets": lambda: cached(lambda prompt, by: "an answer")(CANARY, {f"a] ({CANARY}": Odd()}),
    "a key of the context": lambda: cached()(CANARY, cache_context={CANARY: Odd()}),
    "a key of the context that changes": many(),
    "a prompt that is none": lambda: cached(lambda prompt: "an answer")({CANARY}),
    "a prompt that is derived": lambda: cached(prompt=lambda kw: [CANARY])(CANARY),
    "a callable that raises": lambda: cached(prompt=fails)(CANARY),
    "a context that raises": lambda: cached(context=fails)(CANARY),
    "an answer that cannot be stored": lambda: cached(lambda prompt: {CANARY: threading.Lock()})(CANARY),
    "an answer that is a stream": lambda: cached(lambda prompt: iter([CANARY]))(CANARY),
    "a guard that raises": twice(guards=(fails,)),
    "a verifier that raises": twice(guards=(), verify=fails),
    "a predicate that raises": twice(store_if=fails),
    "an embedder that raises": twice(embedder=BrokenEmbedder()),
    **{
        f"a storage whose {operation} raises": twice(storage=Broken(operation))
        for operation in ("recall", "search", "put", "sizes")
    },
    "texts that are one": lambda: recallm.FastEmbedEmbedder.offline().embed_batch(CANARY),
    "a storage that is a URL": lambda: recallm.register_storage("one", f"redis://:{CANARY}@host"),  # type: ignore[arg-type]
    "a storage that is nearly a URL": lambda: recallm.get_storage(f"redis:{CANARY}@host"),
    "a storage that is bytes": lambda: cached(storage=f"redis://:{CANARY}@host".encode()),
}


@pytest.fixture
def _heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG):
        yield


@pytest.mark.usefixtures("_heard")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_a_call_is_told_without_its_words(mistake: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with a call, neither an exception of recallm's, nor the log, nor a warning quotes it."""
    said = []
    with warnings.catch_warnings(record=True) as warned, suppress(Told, TypeError):  # the function's own
        warnings.simplefilter("always")
        try:
            MISTAKES[mistake]()
        except recallm.RecallmError as error:
            said.append(str(error))
    said += [str(each.message) for each in warned] + [record.getMessage() for record in caplog.records]
    assert [text for text in said if CANARY in text or "1234" in text] == []
    assert mistake.endswith(("missing", "changes")) or said, "nothing was told"


def test_a_warning_that_is_an_error_is_logged_without_words(caplog: pytest.LogCaptureFixture) -> None:
    """If the application turns warnings into errors, advice is logged, without anybody's words as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecallmWarning)
        cached(lambda prompt, by: "an answer")(CANARY, {CANARY: Odd()})
    assert "are not cached" in caplog.text
    assert CANARY not in caplog.text
