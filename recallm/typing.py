"""The types that users meet, and the type aliases of recallm's signatures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, SupportsFloat, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]
    """An embedding of shape (dim,), float32, unit length."""

Guard: TypeAlias = Callable[[str, str], bool]
"""(prompt, cached_prompt) -> may the cached answer serve this prompt?"""

Verifier: TypeAlias = Callable[[str, str, Any], Any]
"""(prompt, cached_prompt, response) -> may this answer serve? Returns a bool, or an awaitable of one.

If the history may be similar, the prompts are whole conversations as JSON:
``[["user", text], ["assistant", text], …]``.
"""

Same: TypeAlias = Callable[[str, Any, Any], bool]
"""(prompt, cached_response, response) -> is the cached answer as right for this prompt as the function's own?"""

Arguments: TypeAlias = Mapping[str, Any]
"""Every argument of one call by name: positionals bound, defaults applied."""

Context: TypeAlias = Mapping[Any, Any] | Callable[[Arguments], Mapping[Any, Any]]
Prompt: TypeAlias = str | Callable[[Arguments], str | None]
Namespace: TypeAlias = str | Callable[[Arguments], str]
Seconds: TypeAlias = float | timedelta
Duration: TypeAlias = Seconds | str
"""Seconds, a timedelta, or a text such as ``"90s"``, ``"1h30m"`` or ``"7d"`` (weeks, days, hours, minutes, seconds)."""

Ttl: TypeAlias = Duration | Callable[[Any], Duration | None]
"""A time to live, or what returns that of a response; None: no expiry."""

StoreIf: TypeAlias = Callable[[Any], bool]
SkipIf: TypeAlias = Callable[[Arguments], bool]
Price: TypeAlias = tuple[float, float] | Mapping[str, float] | Callable[[Any], SupportsFloat]
"""What a million tokens cost, in and out, or what returns the cost of a response; the currency is the user's."""

Tags: TypeAlias = Collection[str] | Callable[[Arguments, Any], Collection[str] | str]
Profile: TypeAlias = Literal["strict", "balanced", "guarded", "loose"]
Threshold: TypeAlias = Profile | Literal["exact"] | float
Mode: TypeAlias = Literal["auto", "sync", "async"]
History: TypeAlias = Literal["equal", "similar"]
Serve: TypeAlias = Literal["all", "exact", "none"]
CallServe: TypeAlias = Serve | Literal["refresh", "off"]

SERVES: tuple[Serve, ...] = ("all", "exact", "none")
"""What may be served, the most first."""

PROFILES: Mapping[str, float] = MappingProxyType({"strict": 0.97, "balanced": 0.92, "guarded": 0.88, "loose": 0.85})
"""The named thresholds as cosines; a model may come with its own. ``"guarded"`` counts on the default guards."""


class EmbedderLike(Protocol):
    """The least that an embedder must have: a `model_id`, and a method that turns a text into a vector.

    It is called by one thread at a time, unless it has an attribute ``threads``, an int: by how many threads it may be
    called at once. Say so only if calls share nothing that they change, such as an array that the result is written
    to. Its methods are not async: they are called in threads of recallm's own. What `embed` returns is copied at once.

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
    texts of any length. Give the attributes in the class, or as properties: assigned in ``__init__`` they are refused,
    but for `threads`. An object that has some of these members without being a subclass works as well.

    Attributes:
        threads: by how many threads the embedder may be called at once; 1 unless a subclass says otherwise.
        model_id: name and revision of the model: entries of another id are invisible.
        max_tokens: how many tokens of a text the model reads, special ones included; None: all.
        thresholds: profile → cosine, as calibrated for this model; profiles it leaves out are those of `PROFILES`, or
            the next stricter one of its own if it has "balanced".
    """

    threads: int = 1

    @property
    @abstractmethod
    def model_id(self) -> str:
        """Name and revision of the model. May load it. If it changes, the new one is loaded by the next call."""

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

        Called by as many threads at once as `threads` says.
        """

    def embed_batch(self, texts: Sequence[str], /) -> Sequence[Sequence[float] | NDArray[Any]] | NDArray[Any]:
        """Return the embeddings of many texts: shape (n, dim), in the order of `texts`."""
        import numpy as np

        vectors = (self.embed(text) for text in texts)
        # Copies, as `embed` may return the same array, or list, each time.
        return [list(vector) if isinstance(vector, list) else np.array(vector) for vector in vectors]

    def load(self) -> None:  # noqa: B027  # most embedders have nothing to load
        """Load the model. Called once for each `model_id`, before anything but that; it may take long, and raise."""

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
