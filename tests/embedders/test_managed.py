"""An embedder made safe to wait for: loaded once, its failure remembered, its vectors checked and memoised."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from support.programs import run_python

from recallm import CacheConfig, InMemoryStorage, SemanticCache, checks, semantic_cache
from recallm.concurrency.workers import Workers
from recallm.embedders import managed
from recallm.embedders.managed import RETRY_SECONDS, ManagedEmbedder
from recallm.errors import InvalidTypeError, InvalidValueError, ModelUnavailableError, OddVectorError
from recallm.testing import Clock, FakeEmbedder
from recallm.testing.threads import run_at_once

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


def test_an_interrupted_wait_leaves_the_load_to_the_others() -> None:
    """A caller that is interrupted right after it began a load keeps nobody from getting the model."""

    class Interrupted(Workers):
        def submit(self, task: Callable[[], Any]) -> Future[Any]:
            super().submit(task)
            raise KeyboardInterrupt

    embedder = Loading(lambda: None)
    managed_embedder = ManagedEmbedder(embedder)
    usual, managed_embedder._loaders = managed_embedder._loaders, Interrupted("interrupted", size=1)
    with pytest.raises(KeyboardInterrupt):
        managed_embedder.model_info()
    managed_embedder._loaders = usual
    assert result(managed_embedder.model_info()).model_id == "recallm/fake"


def test_of_two_loads_begun_at_once_one_tries() -> None:
    """A hub that does not answer is asked once, though two callers began to load at the same moment."""

    def load() -> None:
        raise ConnectionError("no hub")

    embedder = Loading(load)
    managed_embedder = ManagedEmbedder(embedder)
    both = [managed_embedder._loaders.submit(partial(managed_embedder._load_once, 0)) for _ in range(2)]
    assert isinstance(both[0].exception(WAIT), ConnectionError)
    assert isinstance(both[1].exception(WAIT), ModelUnavailableError)
    assert embedder.loads == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_loads_for_itself() -> None:
    """A load that was under way in the parent is begun anew in a forked child."""
    code = (
        "import os, threading, warnings\n"
        "from concurrent.futures import Future\n"
        "from recallm.embedders.managed import ManagedEmbedder\n"
        "from recallm.testing import FakeEmbedder\n"
        "warnings.simplefilter('ignore')\n"
        "began, hold, parent = threading.Event(), threading.Event(), os.getpid()\n"
        "class Slow(FakeEmbedder):\n"
        "    def load(self):\n"
        "        began.set()\n"
        "        if os.getpid() == parent: hold.wait(60)\n"
        "managed = ManagedEmbedder(Slow())\n"
        "managed.model_info()\n"
        "began.wait(20)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    found = managed.model_info()\n"
        "    os._exit(isinstance(found, Future) and found.result(20).model_id != 'recallm/fake')\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert run_python("-c", code, folder=Path.cwd()).split() == ["0"]


@pytest.mark.parametrize("end", ["used", "failed to load", "odd", "timed out"])
def test_nothing_keeps_a_dead_embedder_alive(end: str) -> None:
    """An embedder is gone with its cache, whatever came of its calls."""

    class Ending(FakeEmbedder):
        def load(self) -> None:
            if end == "failed to load":
                raise ConnectionError("no hub")

        def embed(self, text: str) -> Any:
            if end == "timed out":
                released.wait(WAIT)
            return [0.0] if end == "odd" else super().embed(text)

    released = threading.Event()
    embedder = Ending()
    config = CacheConfig(embed_timeout_seconds=0.05)
    cache: Any = SemanticCache(InMemoryStorage(), config, embedder)
    cache.wrap(lambda prompt: "x", context={}, prompt="prompt")("hello")
    managed_embedder = cache._core.find_embedder()
    idle = [managed_embedder.workers.submit(lambda: None), managed_embedder._loaders.submit(lambda: None)]
    released.set()
    for each in idle:
        each.result(WAIT)
    gone = weakref.ref(embedder), weakref.ref(managed_embedder)
    del cache, embedder, managed_embedder
    deadline = time.monotonic() + WAIT
    while any(each() is not None for each in gone) and time.monotonic() < deadline:
        gc.collect()
    assert [each() for each in gone] == [None, None]


def test_a_model_id_that_is_no_text_is_a_failed_load() -> None:
    """A model whose id is not a str fails to load, even if only the loaded model shows it."""

    class Numbered(FakeEmbedder):
        @property
        def model_id(self) -> Any:
            return 7

        @model_id.setter
        def model_id(self, value: Any) -> None: ...

    with pytest.raises(InvalidTypeError, match="model_id=7 is an int"):
        result(ManagedEmbedder(checks.embedder(Numbered())).model_info())


def test_calibrated_profiles_come_with_the_model() -> None:
    """An embedder's thresholds come as floats, without profiles that do not exist."""

    class Calibrated(FakeEmbedder):
        thresholds: ClassVar[Any] = {"balanced": 1, "unknown": 0.5}

    assert result(ManagedEmbedder(Calibrated()).model_info()).thresholds == {"balanced": 1.0}


def test_recent_vectors_are_memoised_and_old_ones_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text asked for again soon costs no embedding, and the memory that vectors take is bounded."""
    monkeypatch.setattr(managed, "MEMO_BYTES", 6 * 1024)
    embedder = FakeEmbedder()
    managed_embedder = ManagedEmbedder(embedder)
    for text in ("a", "b", "a", "c", "a", "d", "a", "e", "a"):
        vector_of(managed_embedder, text)
    assert embedder.embedded == ["a", "b", "c", "d", "e"]
    assert not managed_embedder.cached_vector("b")[0]


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
    assert managed_embedder.cached_vector("first")[0]
    assert vector_of(managed_embedder, "two").shape == (2,)
    assert vector_of(managed_embedder, "one").shape == (2,)
    with pytest.raises(OddVectorError):
        vector_of(managed_embedder, "first")


def test_a_vector_of_the_former_length_is_not_taken_from_the_memo() -> None:
    """A thread that memoises a vector of the former length after the change leaves nothing that is used."""
    managed_embedder = ManagedEmbedder(FakeEmbedder(vectors={"one": [1.0, 2.0], "two": [2.0, 1.0]}))
    late = managed_embedder.embed("first")
    for text in ("one", "two"):
        with suppress(OddVectorError):
            managed_embedder.embed(text)
    managed_embedder._memo.put((None, "first"), (late,), 1)
    assert not managed_embedder.cached_vector("first")[0]


class Switching(FakeEmbedder):
    """An embedder whose model may be changed for another one."""

    model_id = "a"

    def load(self) -> None:
        """Take the vectors of the model."""
        self.vectors = {"cats": [1.0, 0.0], "dogs": [0.0, 1.0]}
        if self.model_id == "b":
            self.vectors = {"cats": [0.0, 1.0], "dogs": [1.0, 0.0]}

    def switch(self, model_id: str) -> None:
        """Change the model."""
        self.model_id = model_id
        self.load()


def test_a_vector_is_never_that_of_another_model() -> None:
    """A call that knows the model by its former id gets no vector, before and after others know the new one."""
    embedder = Switching()
    managed_embedder = ManagedEmbedder(embedder)
    assert result(managed_embedder.model_info()).model_id == "a"
    embedder.switch("b")
    for _ in range(2):
        with pytest.raises(OddVectorError, match="model_id has changed"):
            managed_embedder.embed("cats", "a")
        assert result(managed_embedder.model_info()).model_id == "b"
        assert managed_embedder.embed("cats", "b") == pytest.approx([0.0, 1.0])
        assert not managed_embedder.cached_vector("cats", "a")[0]


def test_a_vector_made_while_the_model_changes_is_not_used() -> None:
    """A change in the midst of an embedding is noticed, and nothing of it is memoised."""

    class Busy(Switching):
        def embed(self, text: str) -> Any:
            self.switch("b")
            return super().embed(text)

    managed_embedder = ManagedEmbedder(Busy())
    assert result(managed_embedder.model_info()).model_id == "a"
    with pytest.raises(OddVectorError, match="model_id has changed"):
        managed_embedder.embed("cats", "a")
    assert not managed_embedder.cached_vector("cats", "a")[0]
    assert not managed_embedder.cached_vector("cats", "b")[0]


def test_an_answer_is_not_stored_with_another_models_vector() -> None:
    """A storage shared with callers of the first model serves them no answer that the second one's vector fits."""
    storage, embedder = InMemoryStorage(), Switching()

    @semantic_cache(context={}, storage=storage, embedder=embedder, guards=(), namespace="n")
    def ask(prompt: str) -> str:
        return f"about {prompt}"

    ask.warmup()
    embedder.switch("b")
    assert ask("dogs") == "about dogs"
    assert ask("dogs") == ask("dogs") == "about dogs"
    assert ask.stats().hits == 1
    embedder.switch("a")
    assert [ask("cats") for _ in range(3)] == ["about cats"] * 3


class OneBuffer:
    """An embedder that is not safe to call from several threads: it returns the same array each time."""

    model_id = "buffer"

    def __init__(self) -> None:
        self.buffer = np.zeros(64)
        self.running = 0
        self.most = 0

    def _enter(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(0.001)  # lets the others in, if anything does

    def load(self) -> None:
        """Do nothing for a while."""
        self._enter()
        self.running -= 1

    def represents(self, text: str) -> bool:
        """Do nothing for a while."""
        self._enter()
        self.running -= 1
        return True

    def embed(self, text: str) -> Any:
        """Return the same array each time."""
        self._enter()
        np.copyto(self.buffer, np.eye(64)[int(text)])
        self.running -= 1
        return self.buffer


def test_an_embedder_that_says_nothing_is_called_by_one_thread_at_a_time() -> None:
    """Whatever is asked for at once, the embedder does one thing after the other, and each text has its own vector."""
    embedder = OneBuffer()
    managed_embedder = ManagedEmbedder(embedder)

    def ask(number: int) -> Any:
        if number % 8 == 0:
            managed_embedder.load()
        if number % 8 == 1:
            (rows,) = managed_embedder.embed_many([str(number), "63"], at_once=2)
            return rows[0]
        return managed_embedder.workers.submit(lambda: managed_embedder.embed(str(number))).result(WAIT)

    vectors = run_at_once([partial(ask, number) for number in range(24)])
    assert [int(np.argmax(vector)) for vector in vectors] == list(range(24))
    assert embedder.most == 1


def test_an_embedder_is_called_by_as_many_threads_as_it_says() -> None:
    """Four calls that wait for each other end if four threads may call at once."""
    meeting = threading.Barrier(4)

    class Four(FakeEmbedder):
        threads = 4

        def embed(self, text: str) -> Any:
            meeting.wait(WAIT)
            return super().embed(text)

    managed_embedder = ManagedEmbedder(Four())
    made = [managed_embedder.workers.submit(partial(managed_embedder.embed, text)) for text in "abcd"]
    assert [each.result(WAIT) is not None for each in made] == [True] * 4


@pytest.mark.parametrize(
    ("threads", "error"),
    [(0, InvalidValueError), (-1, InvalidValueError), (True, InvalidTypeError), ("8", InvalidTypeError)],
)
def test_a_number_of_threads_that_is_none_is_refused(threads: Any, error: type[Exception]) -> None:
    """An embedder's `threads` is a positive int, which is checked when the embedder is given to a cache."""
    embedder = OneBuffer()
    embedder.threads = threads  # type: ignore[attr-defined]  # as users give it
    with pytest.raises(error, match=f"threads={threads!r} is .*at once"):
        semantic_cache(context={}, embedder=embedder)(lambda prompt: prompt)


@pytest.mark.parametrize("threads", [1, 8])
def test_an_embedder_that_asks_itself_is_refused(threads: int) -> None:
    """A cached function called within an embedding, as by a finalizer, goes on without the cache, and at once."""

    class Asking(FakeEmbedder):
        def load(self) -> None:
            self.asked = [ask("within a load")]

        def embed(self, text: str) -> Any:
            if text == "outer":
                self.asked.append(ask("inner"))
            return super().embed(text)

    embedder = Asking()
    embedder.threads = threads

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=embedder, coalesce=False)
    def ask(prompt: str) -> str:
        return prompt

    began = time.monotonic()
    assert ask("outer") == "outer"
    assert embedder.asked == ["within a load", "inner"]
    assert time.monotonic() - began < 4.0
    assert ask("outer") == "outer"
    assert ask.stats().hits == 1


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
