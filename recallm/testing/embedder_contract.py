"""The contract of embedders: tests that every embedder must pass, to be inherited."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import SkipTest

import numpy as np

from recallm import checks
from recallm.embedders.base import as_embedder
from recallm.errors import OddVectorError
from recallm.scoring import normalise, similarity
from recallm.testing.threads import run_at_once
from recallm.typing import PROFILES, Embedder, EmbedderLike

if TYPE_CHECKING:
    from recallm.typing import Vector

TEXTS = (
    "How do I reset my password?",
    "hello",
    "Wie groß ist die Wohnung in der Königstraße?",
    "東京の天気はどうですか",
    "Is this fine 😀?",
    "first line\nsecond line\n\n- a point\n- another",
    "I ordered three chairs last week, and none has come. " * 8 + "Where are they?",
)
"""Short, long and of one word; other scripts, an emoji, several lines."""

TRAPS = (
    ("Can I return it within 30 days?", "Can I return it within 90 days?"),
    ("Is it allowed to park here?", "Is it not allowed to park here?"),
    ("How do I enable the alarm?", "How do I disable the alarm?"),
    ("What are 5 kg in pounds?", "What are 5 g in pounds?"),
    ("What is -5 + 3?", "What is 5 + 3?"),
    ("Who is Anna?", "Who is Hanna?"),
    ("I feel 😀", "I feel 💥"),
    ("สวัสดีครับ", "ขอบคุณมาก"),
    ("में", "मैं"),
    ("かぎ", "かき"),
    ("How do I write a resume?", "How do I write a résumé?"),
    ("word " * 600 + "yes", "word " * 600 + "no"),
)
"""Pairs that a model may embed alike to the last bit, as it drops the difference or does not read so far."""

BLANK = ("", " ", " \t\r\n", "\u00a0\u2003")

MANY = tuple(f"{'please ' * (number * 7 % 11)}tell me about number {number}" for number in range(40))
"""Texts of many lengths in no order, more than the usual 32 of one batch."""

ROUNDING = 1e-5
"""Most that a component of a unit vector may change from call to call: the rounding of sums in float32."""

SAME_IN_BATCH = 1 - 1e-3
"""Least cosine of a text's vectors alone and in a batch: padding changes the last digits, half precision a few more."""


class _Texts(list[str]):
    """A list of texts that can be referred to weakly."""


class EmbedderContract:
    """Tests that every embedder must pass, as methods for pytest.

    Subclass it under a name that pytest collects, and implement `make_embedder`.

    Attributes:
        threads: how many threads embed at once, if the embedder allows so many.
        texts: the texts that are embedded, the first one plain and short. Replace them for a model of another language.
        traps: pairs of texts with different answers, which must not have the very same vector.

    >>> from recallm.testing import FakeEmbedder
    >>> class TestFakeEmbedder(EmbedderContract):
    ...     def make_embedder(self):
    ...         return FakeEmbedder()
    """

    threads: ClassVar[int] = 8
    texts: ClassVar[tuple[str, ...]] = TEXTS
    traps: ClassVar[tuple[tuple[str, str], ...]] = TRAPS

    _embedder: ClassVar[Embedder | None] = None

    def make_embedder(self) -> EmbedderLike:
        """Return an embedder. Called twice for a class: one object serves most tests, as models load slowly."""
        raise NotImplementedError

    @classmethod
    def teardown_class(cls) -> None:
        """Let go of the embedder that the tests of this class shared."""
        cls._embedder = None

    def made(self) -> Embedder:
        """Return an embedder that has done nothing yet."""
        return as_embedder(checks.embedder(self.make_embedder()))

    def loaded(self) -> Embedder:
        """Return the embedder that the tests of this class share."""
        cls = type(self)
        if cls._embedder is None:
            embedder = self.made()
            embedder.load()
            cls._embedder = embedder
        return cls._embedder

    def readable(self, embedder: Embedder, *more: str) -> list[str]:
        """Return those of `texts` and `more` that an embedder represents: calls embed no others."""
        return [text for text in (*self.texts, *more) if embedder.represents(text)]

    def test_is_known_by_one_name(self) -> None:
        """A model's id is a text, the same before and after it is loaded and in every object, as its vectors are."""
        shared, other = self.loaded(), self.made()
        names = [other.model_id]
        other.load()
        names.append(other.model_id)
        vectors = {text: _vector(other, text) for text in self.readable(other)}
        names += [other.model_id, shared.model_id]
        assert all(isinstance(name, str) and name for name in names), f"model_id is not a non-empty str: {names}"
        assert len(set(names)) == 1, f"model_id changes, and entries of another id are invisible: {names}"
        for text, vector in vectors.items():
            _assert_same(_vector(shared, text), vector, f"two objects embed {text[:40]!r} differently")

    def test_gives_vectors_of_one_length(self) -> None:
        """Each text has a vector of shape (dim,), finite and not all zeros, and `dim` is the same for all."""
        embedder = self.loaded()
        lengths = {text[:40]: _vector(embedder, text).size for text in self.readable(embedder)}
        assert len(set(lengths.values())) == 1, f"the length of a vector depends on the text: {lengths}"

    def test_gives_a_text_the_same_vector_each_time(self) -> None:
        """A text has the same vector each time, whatever was embedded in between."""
        embedder = self.loaded()
        texts = self.readable(embedder)
        first = [_vector(embedder, text) for text in texts]
        again = [_vector(embedder, text) for text in reversed(texts)]
        for text, one, other in zip(texts, first, reversed(again), strict=True):
            _assert_same(one, other, f"{text[:40]!r} has another vector the second time")

    def test_says_how_many_threads_may_call_it(self) -> None:
        """`threads` is a positive int; without it, the embedder is called by one thread at a time."""
        threads: Any = self.loaded().threads
        assert isinstance(threads, int), f"threads={threads!r} is not an int"
        assert threads > 0, f"threads={threads!r} is not positive"
        assert not isinstance(threads, bool), f"threads={threads!r} is a bool"

    def test_serves_threads_at_once(self) -> None:
        """Each of several threads, as many as the embedder allows, gets the vectors of its own texts."""
        embedder = self.loaded()
        texts = self.readable(embedder, *MANY[:9])
        expected = [_vector(embedder, text) for text in texts]

        def embed_from(start: int) -> None:
            for step in range(len(texts)):
                place = (start + step) % len(texts)
                vector = _vector(embedder, texts[place])
                _assert_same(vector, expected[place], "a thread got a vector that is not its text's")

        run_at_once([partial(embed_from, start) for start in range(min(self.threads, embedder.threads))])

    def test_leaves_a_vector_to_its_caller(self) -> None:
        """A vector does not change when the next text is embedded: another thread may do so at any time."""
        embedder = self.loaded()
        if embedder.threads == 1:
            raise SkipTest("threads is 1: each vector is copied before the next text is embedded")
        first, second, *_ = self.readable(embedder)
        vector: Any = embedder.embed(first)
        before = np.array(vector)
        embedder.embed(second)
        embedder.embed_batch([second])
        assert np.array_equal(np.array(vector), before), "embed writes into a vector that it has returned"

    def test_a_batch_gives_each_text_its_vector(self) -> None:
        """A batch has rows in the order of its texts, each the vector that `embed` gives for the text alone."""
        embedder = self.loaded()
        texts = self.readable(embedder, *MANY)
        alone = [_vector(embedder, text) for text in texts]
        for places in (range(len(texts)), range(len(texts) - 1, -1, -2), range(1)):
            rows = list(embedder.embed_batch([texts[place] for place in places]))
            assert len(rows) == len(places), f"embed_batch gave {len(rows)} rows for {len(places)} texts"
            for place, row in zip(places, rows, strict=True):
                cosine = similarity(_unit(row, texts[place]), alone[place])
                assert cosine >= SAME_IN_BATCH, (
                    f"in a batch of {len(places)}, {texts[place][:40]!r} has a vector whose cosine with its own "
                    f"is {cosine:.5f}: rows must come in the order of the texts, whatever their lengths"
                )

    def test_a_batch_of_nothing_is_empty(self) -> None:
        """A batch of no texts has no rows."""
        assert len(self.loaded().embed_batch([])) == 0

    def test_leaves_a_batch_to_its_caller(self) -> None:
        """`embed_batch` neither changes nor keeps the list that it is given."""
        embedder = self.loaded()
        texts = _Texts(self.readable(embedder))
        given = list(texts)
        embedder.embed_batch(texts)
        assert texts == given, "embed_batch changes the list that it is given"
        kept = weakref.ref(texts)
        del texts
        gc.collect()
        assert kept() is None, "embed_batch keeps the list that it is given"

    def test_represents_a_plain_text(self) -> None:
        """A plain, short text is represented, as otherwise no similar prompt would ever be served."""
        assert self.loaded().represents(self.texts[0]), f"represents({self.texts[0]!r}) is not True"

    def test_represents_no_blank_text(self) -> None:
        """A blank text is not represented, as all blank texts are alike."""
        embedder = self.loaded()
        assert [text for text in BLANK if embedder.represents(text)] == [], "represents must be False for blank texts"

    def test_represents_no_text_longer_than_it_reads(self) -> None:
        """A text of more than `max_tokens` is not represented, as its vector depends on its beginning only."""
        embedder = self.loaded()
        limit = self._limit(embedder)
        text = "word " * (limit + 1)
        counted = embedder.count_tokens(text)
        assert counted > limit, (
            f"count_tokens counts {counted} tokens in {limit + 1} words: it must count before cutting"
        )
        assert not embedder.represents(text), f"represents a text of {counted} tokens, and max_tokens is {limit}"
        assert embedder.count_tokens(self.texts[0]) <= limit, f"{self.texts[0]!r} is longer than max_tokens={limit}"

    def test_counts_more_tokens_in_longer_texts(self) -> None:
        """The number of tokens is an int that grows with the text, even beyond `max_tokens`."""
        embedder = self.loaded()
        limit = self._limit(embedder)
        lengths = (1, 2, 8, limit + 1)
        counts = [embedder.count_tokens("word " * length) for length in sorted(set(lengths))]
        assert all(isinstance(count, int) and count > 0 for count in counts), f"count_tokens is no int: {counts}"
        assert counts == sorted(set(counts)), f"count_tokens does not grow with the text: {counts}"

    def test_calibrates_known_profiles(self) -> None:
        """Thresholds of the model's own are cosines in [0, 1], under the names of profiles."""
        thresholds = self.loaded().thresholds
        assert set(thresholds) <= set(PROFILES), f"thresholds has {set(thresholds)}; profiles are {set(PROFILES)}"
        for profile, cosine in thresholds.items():
            assert isinstance(cosine, int | float), f"thresholds[{profile!r}]={cosine!r} is not a number"
            assert 0.0 <= cosine <= 1.0, f"thresholds[{profile!r}]={cosine!r} is not in [0, 1]"

    def test_gives_different_texts_different_vectors(self) -> None:
        """Of two texts with different answers but the very same vector, at most one is represented."""
        embedder = self.loaded()
        for one, other in self.traps:
            if embedder.represents(one) and embedder.represents(other):
                assert not np.array_equal(_vector(embedder, one), _vector(embedder, other)), (
                    f"{one[-40:]!r} and {other[-40:]!r} have the very same vector; have represents return False "
                    "for one of them, or give max_tokens and count_tokens"
                )

    def _limit(self, embedder: Embedder) -> int:
        limit = embedder.max_tokens
        if limit is None:
            raise SkipTest("max_tokens is None: the embedder reads texts of any length")
        assert isinstance(limit, int), f"max_tokens={limit!r} is not an int"
        assert limit > 0, f"max_tokens={limit!r} is not positive"
        return limit


def _vector(embedder: Embedder, text: str) -> Vector:
    return _unit(embedder.embed(text), text)


def _unit(embedding: Any, text: str) -> Vector:
    try:
        return normalise(embedding)
    except OddVectorError as error:
        raise AssertionError(f"{text[:40]!r}: {error}") from None


def _assert_same(one: Vector, other: Vector, claim: str) -> None:
    assert one.shape == other.shape, f"{claim}: shapes {one.shape} and {other.shape}"
    difference = float(np.abs(one - other).max())
    assert difference <= ROUNDING, f"{claim}: a component differs by {difference:.2g}"
