"""The embedder without a model, and the clock that is moved."""

from __future__ import annotations

import numpy as np
import pytest

from recallm.errors import OddVectorError
from recallm.testing import Clock, FakeEmbedder
from recallm.typing import Embedder


def test_the_fake_embedder_sees_words_and_not_their_order() -> None:
    """A text's vector depends on its words alone, unless it is given; texts that are embedded are noted."""
    embedder = FakeEmbedder(dim=8, vectors={"given": [3.0, 4.0]})
    assert np.array_equal(embedder.embed("a b"), FakeEmbedder(dim=8).embed("B a"))
    assert float(embedder.embed("a b") @ embedder.embed("a c")) < 0.99
    assert embedder.embed("given").tolist() == pytest.approx([0.6, 0.8])
    assert embedder.embedded == ["a b", "a b", "a c", "given"]


def test_the_fake_embedder_is_an_embedder() -> None:
    """The fake embedder is an `Embedder` with an id of its own."""
    embedder = FakeEmbedder()
    assert isinstance(embedder, Embedder)
    assert embedder.model_id == "recallm/fake"


@pytest.mark.parametrize("text", ["a", "a b c", "Größe 漢字", "lone \ud800 surrogate", "x" * 10_000])
@pytest.mark.parametrize("dim", [2, 16, 256])
def test_the_fake_embedder_gives_unit_vectors(text: str, dim: int) -> None:
    """A vector has the dimension asked for, is float32, and is the same each time and in each object."""
    vector = FakeEmbedder(dim=dim).embed(text)
    assert vector.shape == (dim,)
    assert vector.dtype == np.float32
    assert float(np.linalg.norm(vector.astype(np.float64))) == pytest.approx(1.0, abs=1e-6)
    assert np.array_equal(vector, FakeEmbedder(dim=dim).embed(text))


def test_texts_are_the_more_similar_the_more_words_they_share() -> None:
    """Similarity falls with each word that two texts do not share, to about nothing if they share none."""
    embed = FakeEmbedder().embed
    text = embed("one two three four")
    others = ["four three two one", "one two three five", "one two six five", "one seven six five", "eight nine"]
    similarities = [float(text @ embed(other)) for other in others]
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[0] == pytest.approx(1.0, abs=1e-6)
    assert abs(similarities[-1]) < 0.3


@pytest.mark.parametrize(("text", "vectors"), [("", {}), (" \t\n", {}), ("given", {"given": [0.0, 0.0]})])
def test_the_fake_embedder_has_no_vector_for_nothing(text: str, vectors: dict[str, list[float]]) -> None:
    """A vector without a direction is refused, as it is from a model."""
    with pytest.raises(OddVectorError):
        FakeEmbedder(vectors=vectors).embed(text)


def test_given_vectors_are_the_embedders_own() -> None:
    """A mapping of vectors that is changed afterwards changes nothing."""
    vectors = {"given": [1.0, 0.0]}
    embedder = FakeEmbedder(dim=2, vectors=vectors)
    vectors["given"] = [0.0, 1.0]
    assert embedder.embed("given").tolist() == [1.0, 0.0]


def test_the_clock_shows_what_it_was_moved_to() -> None:
    """A clock stands still unless it is moved."""
    clock = Clock(5.0)
    assert [clock(), clock()] == [5.0, 5.0]
    clock.advance(0.25)
    clock.advance(2)
    assert clock() == clock.now == 7.25
    assert Clock()() == Clock()() > 0
