"""Finding stored entries by similarity to a text: which are compared, and which are found."""

from __future__ import annotations

import pytest

from recallm.embedders.managed import ManagedEmbedder
from recallm.engine.similar_entries import similar_entries
from recallm.errors import InvalidValueError
from recallm.records import Candidate, Entry
from recallm.scoring import normalise
from recallm.testing import FakeEmbedder

EMBEDDER = FakeEmbedder(
    dim=2, vectors={"refunds": [1.0, 0.0], "refund": [0.99, 0.1], "parking": [0.0, 1.0], "park": [0.1, 0.99]}
)


def candidate(prompt: str, vector: list[float] | None = None, *, partition: str = "p") -> Candidate:
    """Return an entry of a prompt, with the model's vector unless another is given."""
    made = EMBEDDER.embed(prompt) if vector is None else normalise(vector)
    return Candidate(Entry(prompt, "n", partition, prompt, made, b""), 1.0, 0.0)


def test_what_is_similar_is_found_with_its_cosine() -> None:
    """Entries at or above the threshold are found, in any partition of the model."""
    held = [candidate("refunds"), candidate("refund", partition="q"), candidate("parking")]
    found = similar_entries(held, "refunds", ManagedEmbedder(EMBEDDER), 0.9)
    assert [(each.entry.prompt, round(each.similarity, 3)) for each in found.found] == [
        ("refunds", 1.0),
        ("refund", 0.995),
    ]
    assert found.of_other_models == 0


def test_what_other_models_made_is_counted_and_not_compared() -> None:
    """A partition whose first vector is not this model's is another model's, and what has no vector is passed over."""
    exact = Candidate(Entry("refunds", "n", "e", "refunds", None, b""), 1.0, 0.0)
    held = [candidate("parking", [1.0, 0.0], partition="o"), candidate("refunds", partition="o"), exact]
    assert similar_entries(held, "refunds", ManagedEmbedder(EMBEDDER), "strict") == ([], 2)


def test_a_text_that_the_model_cannot_represent_is_refused() -> None:
    """Nothing is similar to a text without an embedding, which is an error rather than nothing found."""
    with pytest.raises(InvalidValueError, match="similar_to is a text that the model cannot represent"):
        similar_entries([], " ", ManagedEmbedder(EMBEDDER), "loose")
