"""What an embedder does that implements no more than it must, and how an object that is no subclass becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from recallm.embedders.base import as_embedder
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
