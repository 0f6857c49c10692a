"""Checks of arguments: what is no embedder; the other checks are tested where they are used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, Mock

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


async def later(*_: object) -> bool:
    """Agree, later."""
    return True


async def several(*_: object) -> AsyncIterator[bool]:
    """Agree, several times."""
    yield True


class Later:
    """Agrees, later."""

    async def __call__(self, *_: object) -> bool:
        """Agree, later."""
        return True

    async def agree(self, *_: object) -> bool:
        """Agree, later."""
        return True


ASYNC = [
    later, several, Later(), Later().agree, partial(later, 1), partial(partial(Later(), 1), 2), partial(Later().agree),
    AsyncMock(),
]  # fmt: skip


@pytest.mark.parametrize("predicate", ASYNC, ids=lambda value: type(value).__name__)
def test_an_async_predicate_is_refused(predicate: Any) -> None:
    """A predicate that nothing would await is refused, however it is held, alone and among guards."""
    with pytest.raises(InvalidTypeError, match=r"store_if=.* is async, .*; use a callable that returns a bool"):
        checks.predicate(predicate, "store_if")
    with pytest.raises(InvalidTypeError, match=r"guards=.* is async"):
        checks.guards([bool, predicate])


@pytest.mark.parametrize("predicate", [bool, as_it_is, partial(as_it_is), FakeEmbedder, Mock(), "x".startswith])
def test_a_predicate_is_returned_as_it_is(predicate: Any) -> None:
    """A sync callable of any kind is a predicate."""
    assert checks.predicate(predicate, "store_if") is predicate
    assert checks.guards([predicate]) == (predicate,)


def test_an_embedder_is_returned_as_it_is() -> None:
    """Checking an embedder loads and embeds nothing."""
    embedder = FakeEmbedder()
    assert checks.embedder(embedder) is embedder
    assert embedder.embedded == []
