"""The types users meet, and the names that make recallm's own signatures readable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

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
Threshold: TypeAlias = Profile | float
Mode: TypeAlias = Literal["auto", "sync", "async"]


@runtime_checkable
class Embedder(Protocol):
    """Anything that turns a text into a vector.

    Optional members are used where present: ``load()`` (called once, before anything else),
    ``embed_batch(texts)``, ``max_tokens`` with ``count_tokens(text)``, ``represents(text)``
    (False: match this text exactly only) and ``thresholds`` (calibrated profiles).
    """

    @property
    def model_id(self) -> str:
        """Name and revision of the model: entries of another id are invisible."""
        ...

    def embed(self, text: str, /) -> Sequence[float] | NDArray[Any]:
        """Embed one text; 1-d and finite, of any length."""
        ...
