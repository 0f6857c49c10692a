"""Checks of arguments: what is no embedder; the other checks are tested where they are used."""

from __future__ import annotations

from typing import Any

import pytest

from recallm import checks
from recallm.errors import InvalidTypeError
from recallm.testing import FakeEmbedder


def as_it_is(text: str) -> str:
    """Return a text; not an embedder."""
    return text


class Nameless:
    """Embeds, but has no name."""

    model_id = None

    def embed(self, text: str) -> list[float]:
        """Return a vector."""
        return [1.0]


@pytest.mark.parametrize(
    ("embedder", "missing"),
    [
        (None, "no embed method"),
        (as_it_is, "no embed method"),
        (FakeEmbedder, "no embed method"),
        (Nameless(), "no model_id"),
    ],
    ids=["None", "a function", "a class", "nameless"],
)
def test_what_is_no_embedder_is_refused(embedder: Any, missing: str) -> None:
    """An object without `embed` or `model_id` is refused with a message that says what an embedder has."""
    with pytest.raises(InvalidTypeError, match=rf"{missing}.*an embedder has model_id: str and embed"):
        checks.embedder(embedder)


def test_an_embedder_is_returned_as_it_is() -> None:
    """Checking an embedder loads and embeds nothing."""
    embedder = FakeEmbedder()
    assert checks.embedder(embedder) is embedder
    assert embedder.embedded == []
