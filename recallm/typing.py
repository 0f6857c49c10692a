"""The types that users meet, and the type aliases of recallm's signatures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]
    """An embedding of shape (dim,), float32, unit length."""

Guard: TypeAlias = Callable[[str, str], bool]
"""(prompt, cached_prompt) -> may the cached answer serve this prompt?"""

Verifier: TypeAlias = Callable[[str, str, Any], Any]
"""(prompt, cached_prompt, response) -> may this answer serve? Returns a bool, or an awaitable of one."""

Arguments: TypeAlias = Mapping[str, Any]
"""Every argument of one call by name: positionals bound, defaults applied."""

Context: TypeAlias = Mapping[Any, Any] | Callable[[Arguments], Mapping[Any, Any]]
Prompt: TypeAlias = str | Callable[[Arguments], str | None]
Namespace: TypeAlias = str | Callable[[Arguments], str]
Seconds: TypeAlias = float | timedelta
StoreIf: TypeAlias = Callable[[Any], bool]
Profile: TypeAlias = Literal["strict", "balanced", "loose"]
Threshold: TypeAlias = Profile | Literal["exact"] | float
Mode: TypeAlias = Literal["auto", "sync", "async"]

PROFILES: Mapping[str, float] = MappingProxyType({"strict": 0.97, "balanced": 0.92, "loose": 0.85})
"""The named thresholds as cosines; a model may come with its own."""


class EmbedderLike(Protocol):
    """The least that an embedder must have: a `model_id`, and a method that turns a text into a vector.

    Subclass `Embedder` to offer more.
    """

    @property
    def model_id(self) -> str:
        """Name and revision of the model: entries of another id are invisible."""
        ...

    def embed(self, text: str, /) -> Sequence[float] | NDArray[Any]:
        """Embed one text; 1-d and finite, of any length."""
        ...


class Embedder(ABC):
    """Base class of embedders. ``recallm.testing.EmbedderContract`` holds a subclass to it.

    A subclass gives `model_id` and implements `embed`; the other members have defaults that suit a model which reads
    texts of any length. Give the attributes in the class, or as properties: assigned in ``__init__`` they are refused.
    An object that has some of these members without being a subclass works as well.

    Attributes:
        model_id: name and revision of the model: entries of another id are invisible.
        max_tokens: how many tokens of a text the model reads, special ones included; None: all.
        thresholds: profile → cosine, as calibrated for this model; profiles it leaves out are those of `PROFILES`.
    """

    @property
    @abstractmethod
    def model_id(self) -> str:
        """Name and revision of the model. May load it."""

    @property
    def max_tokens(self) -> int | None:
        """How many tokens of a text the model reads, special ones included; None: all."""
        return None

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Profile → cosine, as calibrated for this model."""
        return {}

    @abstractmethod
    def embed(self, text: str, /) -> Sequence[float] | NDArray[Any]:
        """Return the embedding of one text: shape (dim,), finite, of any length.

        Called from several threads at once.
        """

    def embed_batch(self, texts: Sequence[str], /) -> Sequence[Sequence[float] | NDArray[Any]] | NDArray[Any]:
        """Return the embeddings of many texts: shape (n, dim), in the order of `texts`."""
        return [self.embed(text) for text in texts]

    def load(self) -> None:  # noqa: B027  # most embedders have nothing to load
        """Load the model. Called once, before anything else but `model_id`; it may take long, and raise."""

    def count_tokens(self, text: str, /) -> int:
        """Return how many tokens a text has before it is cut; asked only if `max_tokens` is not None."""
        raise NotImplementedError(f"{type(self).__name__} has max_tokens but no count_tokens")

    def represents(self, text: str, /) -> bool:
        """Return whether the embedding stands for all of a text; if not, the text is matched exactly only.

        By default it does if the text shows anything and is not longer than `max_tokens`.
        """
        return is_visible(text) and (self.max_tokens is None or self.count_tokens(text) <= self.max_tokens)


def is_visible(text: str) -> bool:
    """Return whether a text shows anything: white space and zero-width characters do not.

    >>> is_visible("a"), is_visible("   ")
    (True, False)
    """
    return any(character.isprintable() and not character.isspace() for character in text)
