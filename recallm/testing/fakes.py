"""Stand-ins for a model and for time, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from recallm.records import Entry
from recallm.scoring import normalise
from recallm.typing import Embedder

if TYPE_CHECKING:
    from recallm.typing import Vector


class FakeEmbedder(Embedder):
    """Embeds a text as the bag of its words: the more words two texts share, the more similar they are.

    Args:
        dim: dimension of the vectors.
        vectors: text → the vector to return for it, of any length and dimension.

    >>> embedder = FakeEmbedder()
    >>> float(embedder.embed("what is a refund") @ embedder.embed("a refund is what")) > 0.99
    True
    """

    model_id = "recallm/fake"
    threads = 8

    def __init__(self, *, dim: int = 256, vectors: Mapping[str, list[float]] | None = None) -> None:
        self.dim = dim
        self.vectors = dict(vectors or {})
        self.embedded: list[str] = []

    def embed(self, text: str, /) -> Vector:
        """Return a unit vector of shape (dim,), float32, and append the text to `embedded`."""
        self.embedded.append(text)
        if text in self.vectors:
            return normalise(self.vectors[text])
        total = np.zeros(self.dim)
        for word in text.lower().split():
            seed = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
            total += np.random.default_rng(seed).standard_normal(self.dim)
        return normalise(total)


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the seconds that it shows."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def fake_entry(prompt: str = "hello", *, namespace: str = "n", partition: str = "p", **fields: object) -> Entry:
    """Return an entry for a prompt as a cache would make it; `fields` replace the vector or set further fields."""
    vector = fields.pop("vector", FakeEmbedder(dim=16).embed(prompt))
    key = hashlib.blake2b(f"{namespace}\0{partition}\0{prompt}".encode(), digest_size=20).hexdigest()
    return Entry(key, namespace, partition, prompt, vector, b"\x00\xffpayload", **fields)  # type: ignore[arg-type]
