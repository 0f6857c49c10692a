"""An embedder made safe to wait for: loaded once, its failure remembered, its vectors checked and memoised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar

import numpy as np
import pytest

from recallm import checks
from recallm.embedders import managed
from recallm.embedders.managed import RETRY_SECONDS, ManagedEmbedder
from recallm.errors import InvalidTypeError, ModelUnavailableError, OddVectorError
from recallm.testing import Clock, FakeEmbedder

WAIT = 20.0


def vector_of(managed_embedder: ManagedEmbedder, text: str) -> Any:
    """Return a text's vector as a call gets it: from the memo, or made now."""
    known, vector = managed_embedder.cached_vector(text)
    return vector if known else managed_embedder.embed(text)


def result(made: Any) -> Any:
    """Return what is at hand, or wait for it."""
    return made.result(WAIT) if isinstance(made, Future) else made


class Loading(FakeEmbedder):
    """An embedder that runs a given function when it is loaded."""

    def __init__(self, load: Callable[[], object]) -> None:
        super().__init__()
        self._load = load
        self.loads = 0

    def load(self) -> None:
        """Count the load, and run the function."""
        self.loads += 1
        self._load()


def test_a_model_is_loaded_once_whoever_asks() -> None:
    """Twenty threads that ask for the model while it loads wait for the one load."""
    release = threading.Event()
    embedder = Loading(lambda: release.wait(WAIT))
    managed_embedder = ManagedEmbedder(embedder)
    waiting = [managed_embedder.model_info() for _ in range(20)]
    release.set()
    assert {result(each).model_id for each in waiting} == {"recallm/fake"}
    assert embedder.loads == 1
    assert not isinstance(managed_embedder.model_info(), Future)


def test_one_waiter_that_gives_up_does_not_take_the_load_from_the_others() -> None:
    """Each waiter has a future of its own, which it may cancel while the others wait on."""
    release = threading.Event()
    managed_embedder = ManagedEmbedder(Loading(lambda: release.wait(WAIT)))
    patient, hasty = managed_embedder.model_info(), managed_embedder.model_info()
    assert isinstance(hasty, Future)
    assert hasty.cancel()
    release.set()
    assert result(patient).model_id == "recallm/fake"


def test_a_failure_is_remembered_and_tried_again_later() -> None:
    """After a failed load, calls go on without the model and do not wait, until it is tried again."""
    clock = Clock()
    failing = [True, True, False]

    def load() -> None:
        if failing.pop(0):
            raise ConnectionError("no hub")

    embedder = Loading(load)
    managed_embedder = ManagedEmbedder(embedder, clock=clock)
    with pytest.raises(ConnectionError):
        result(managed_embedder.model_info())
    for _ in range(3):
        with pytest.raises(ModelUnavailableError, match="tried again every minute"):
            managed_embedder.model_info()
    assert embedder.loads == 1
    clock.advance(RETRY_SECONDS)
    with pytest.raises(ModelUnavailableError):
        managed_embedder.model_info()
    loading = managed_embedder._loading
    assert loading is not None
    assert isinstance(loading.exception(WAIT), ConnectionError)
    clock.advance(RETRY_SECONDS)
    with pytest.raises(ModelUnavailableError):
        managed_embedder.model_info()
    assert managed_embedder._loading is not None
    managed_embedder._loading.result(WAIT)
    assert result(managed_embedder.model_info()).model_id == "recallm/fake"
    assert embedder.loads == 3


def test_a_load_that_takes_too_long_is_not_waited_for_again() -> None:
    """After a load was given up, calls go on without the model until the load ends."""
    release = threading.Event()
    managed_embedder = ManagedEmbedder(Loading(lambda: release.wait(WAIT)))
    pending = managed_embedder.model_info()
    assert isinstance(pending, Future)
    managed_embedder.load_timed_out()
    with pytest.raises(ModelUnavailableError):
        managed_embedder.model_info()
    release.set()
    assert managed_embedder._loading is not None
    managed_embedder._loading.result(WAIT)
    assert result(managed_embedder.model_info()).model_id == "recallm/fake"


def test_a_model_id_that_is_no_text_is_a_failed_load() -> None:
    """A model whose id is not a str fails to load, even if only the loaded model shows it."""

    class Numbered(FakeEmbedder):
        @property
        def model_id(self) -> Any:
            return 7

        @model_id.setter
        def model_id(self, value: Any) -> None: ...

    with pytest.raises(InvalidTypeError, match="model_id=7 is a int"):
        result(ManagedEmbedder(checks.embedder(Numbered())).model_info())


def test_calibrated_profiles_come_with_the_model() -> None:
    """An embedder's thresholds come as floats, without profiles that do not exist."""

    class Calibrated(FakeEmbedder):
        thresholds: ClassVar[Any] = {"balanced": 1, "unknown": 0.5}

    assert result(ManagedEmbedder(Calibrated()).model_info()).thresholds == {"balanced": 1.0}


def test_recent_vectors_are_memoised_and_old_ones_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text asked for again within the bound costs no embedding."""
    monkeypatch.setattr(managed, "MEMO_ENTRIES", 3)
    embedder = FakeEmbedder()
    managed_embedder = ManagedEmbedder(embedder)
    for text in ("a", "b", "c", "a", "d"):
        vector_of(managed_embedder, text)
    assert embedder.embedded == ["a", "b", "c", "d"]
    assert managed_embedder.cached_vector("a")[0]
    vector_of(managed_embedder, "b")
    assert embedder.embedded == ["a", "b", "c", "d", "b"]


@pytest.mark.parametrize(
    "vector",
    [[3, 4], (3.0, 4.0), np.array([3, 4], np.float16), np.array([3, 4], np.int64), np.array([[3.0, 4.0]])[0]],
    ids=["ints", "tuple", "float16", "int64", "a row"],
)
def test_vectors_of_every_real_kind_become_unit_vectors(vector: Any) -> None:
    """Any sequence of real numbers becomes a float32 vector of length one that shares no memory with it."""

    class Fixed(FakeEmbedder):
        def embed(self, text: str) -> Any:
            return vector

    made = vector_of(ManagedEmbedder(Fixed()), "q")
    assert made.dtype == np.float32
    assert made.tolist() == pytest.approx([0.6, 0.8])
    assert not np.shares_memory(made, np.asarray(vector))
    assert not made.flags.writeable


def test_a_vector_of_another_length_is_odd_until_it_is_the_rule() -> None:
    """A vector of another length is odd until another text has one too; the same text again proves nothing."""
    embedder = FakeEmbedder(vectors={"one": [1.0, 2.0], "two": [2.0, 1.0]})
    managed_embedder = ManagedEmbedder(embedder)
    vector_of(managed_embedder, "first")
    for _ in range(2):
        with pytest.raises(OddVectorError, match="returned 2 numbers, where it has always returned 256"):
            vector_of(managed_embedder, "one")
    assert vector_of(managed_embedder, "two").shape == (2,)
    assert vector_of(managed_embedder, "one").shape == (2,)
    with pytest.raises(OddVectorError):
        vector_of(managed_embedder, "first")


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_batch_with_a_vector_too_many_or_too_few_is_odd(rows: int) -> None:
    """Vectors that cannot be matched with their texts are not used."""

    class Miscounting(FakeEmbedder):
        def embed_batch(self, texts: Sequence[str]) -> Any:
            return [self.embed("a")] * rows

    with pytest.raises(OddVectorError, match=f"embed_batch returned {rows} vectors for 2 texts"):
        list(ManagedEmbedder(Miscounting()).embed_many(["a", "", "b"], at_once=8))


def test_many_texts_are_embedded_some_at_once() -> None:
    """Vectors come in the order of the texts, and None for those that may match exactly only."""
    vectors = list(ManagedEmbedder(FakeEmbedder()).embed_many(["a", "", "b", "a", " "], at_once=2))
    assert [len(part) for part in vectors] == [2, 2, 1]
    a, blank, b, again, blank_too = (vector for part in vectors for vector in part)
    assert blank is blank_too is None
    assert a is not None
    assert b is not None
    assert again is not None
    assert np.array_equal(a, FakeEmbedder().embed("a"))
    assert np.array_equal(b, FakeEmbedder().embed("b"))
    assert np.array_equal(again, a)


class Counting(FakeEmbedder):
    """An embedder that counts words as tokens, and represents four."""

    max_tokens = 4

    def count_tokens(self, text: str) -> int:
        """Return how many words there are."""
        return len(text.split())


class Judging(FakeEmbedder):
    """An embedder that says itself what it represents."""

    def represents(self, text: str) -> bool:
        """Claim that nothing but ASCII is known."""
        return text.isascii()


@pytest.mark.parametrize(
    ("embedder", "text", "expected"),
    [
        (FakeEmbedder(), "a question", True),
        (FakeEmbedder(), "", False),
        (FakeEmbedder(), " \t\n\u00a0", False),
        (FakeEmbedder(), "\u200b\u200d", False),
        (Counting(), "one two three four", True),
        (Counting(), "one two three four five", False),
        (Judging(), "ascii", True),
        (Judging(), "ไทย", False),
    ],
)
def test_a_text_that_an_embedding_cannot_tell_from_others_has_none(embedder: Any, text: str, expected: bool) -> None:
    """Texts that are blank, invisible, too long, or unknown to the embedder are not embedded."""
    assert ManagedEmbedder(embedder).represents(text) == expected
    assert (vector_of(ManagedEmbedder(embedder), text) is not None) == expected
    assert (text in embedder.embedded) == expected


@pytest.mark.parametrize("text", ["caf\u00e9", "cafe\u0301"])
def test_an_embedder_is_given_accents_in_one_form(text: str) -> None:
    """A text with accents after their letters gets the verdict and the vector of one with accents in them."""
    embedder = Counting()
    assert vector_of(ManagedEmbedder(embedder), text) is not None
    assert embedder.embedded == ["caf\u00e9"]
    (vectors,) = ManagedEmbedder(embedder).embed_many([text, "tea"], at_once=2)
    assert [vector is not None for vector in vectors] == [True, True]
    assert embedder.embedded[1:] == ["caf\u00e9", "tea"]


@pytest.mark.parametrize(
    "vector",
    [
        [],
        [0.0, 0.0],
        [1.0, float("nan")],
        [1.0, float("inf")],
        [[1.0, 2.0], [3.0]],
        [[1.0, 2.0]],
        1.0,
        None,
        "vector",
        ["a", "b"],
        {"a": 1.0},
        [1j],
        [10**400],
    ],
    ids=repr,
)
def test_what_is_no_vector_is_odd_each_time(vector: Any) -> None:
    """What is not a vector is an error each time, as it is not memoised."""

    class Odd(FakeEmbedder):
        def embed(self, text: str) -> Any:
            self.embedded.append(text)
            return vector

    embedder = Odd()
    managed_embedder = ManagedEmbedder(embedder)
    for _ in range(2):
        with pytest.raises(OddVectorError):
            vector_of(managed_embedder, "q")
    assert embedder.embedded == ["q", "q"]


def test_the_embedders_own_array_may_change_afterwards() -> None:
    """A read-only array is accepted, and an array that is used again does not change the vector made of it."""
    shared = np.array([3.0, 4.0])

    class Reusing(FakeEmbedder):
        def embed(self, text: str) -> Any:
            frozen = shared.view()
            frozen.flags.writeable = False
            return frozen

    managed_embedder = ManagedEmbedder(Reusing())
    made = vector_of(managed_embedder, "q")
    shared[:] = 1.0
    assert made.tolist() == pytest.approx([0.6, 0.8])
    assert vector_of(managed_embedder, "q") is made


def test_a_waiter_that_gives_up_after_the_load_changes_nothing() -> None:
    """Giving up a load that has ended leaves the model in use."""
    managed_embedder = ManagedEmbedder(FakeEmbedder())
    pending = managed_embedder.model_info()
    result(pending)
    assert isinstance(pending, Future)
    managed_embedder.load_timed_out()
    assert result(managed_embedder.model_info()).model_id == "recallm/fake"


def test_threads_that_embed_at_once_get_their_own_vectors() -> None:
    """A text's vector is the same from the memo and from the model, whatever other threads embed."""
    managed_embedder = ManagedEmbedder(FakeEmbedder())
    texts = [f"text {number % 7}" for number in range(70)]
    start, got = threading.Barrier(4), []

    def embed_all() -> None:
        start.wait(WAIT)
        got.append([vector_of(managed_embedder, text) for text in texts])

    threads = [threading.Thread(target=embed_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    expected = [FakeEmbedder().embed(text) for text in texts]
    assert len(got) == 4
    for vectors in got:
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
