"""Embedders as calls meet them: any object made an `Embedder`, and those whose model is loaded on first use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recallm import checks
from recallm.concurrency.forking import ForkSafeLock
from recallm.embedders.model_files import INSTALL_OFFLINE
from recallm.errors import ModelUnavailableError, RecallmError
from recallm.typing import Embedder, EmbedderLike

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recallm.embedders.tokens import TokenReader

_BATCH_SIZE = 32


def as_embedder(embedder: EmbedderLike) -> Embedder:
    """Return an `Embedder` that does what an object does, and has defaults for what it does not have."""
    return embedder if isinstance(embedder, Embedder) else _Adapted(embedder)


class _Adapted(Embedder):
    """An object that has some members of an `Embedder`; the only place that looks for them."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def _own(self, name: str) -> Any:
        return getattr(self._inner, name, None)

    @property
    def model_id(self) -> str:
        model_id: str = self._inner.model_id
        return model_id

    @property
    def max_tokens(self) -> int | None:
        return self._own("max_tokens") if callable(self._own("count_tokens")) else None

    @property
    def thresholds(self) -> Mapping[str, float]:
        return self._own("thresholds") or {}

    def embed(self, text: str, /) -> Any:
        return self._inner.embed(text)

    def embed_batch(self, texts: Sequence[str], /) -> Any:
        own = self._own("embed_batch")
        return own(texts) if callable(own) else super().embed_batch(texts)

    def load(self) -> None:
        own = self._own("load")
        if callable(own):
            own()

    def count_tokens(self, text: str, /) -> int:
        counted: int = self._inner.count_tokens(text)
        return counted

    def represents(self, text: str, /) -> bool:
        own = self._own("represents")
        return bool(own(text)) if callable(own) else super().represents(text)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What loading yields.

    Args:
        model_id: name and revision, or name and SHA-256.
        dim: length of an embedding.
        reader: counts tokens as the model does.
        embed_texts: n texts, at least one -> shape (n, dim), float32; safe to call from several threads.
    """

    model_id: str
    dim: int
    reader: TokenReader
    embed_texts: Callable[[list[str]], NDArray[np.float32]]


class LazyEmbedder(Embedder):
    """An embedder that loads its model once, on demand or by `load`."""

    _remedy = f"run: {INSTALL_OFFLINE} (needs no network), pass model_path=, or check the network and the cache"

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._known_id: str | None = None
        self._loaded: LoadedModel | None = None
        self._loading = ForkSafeLock()

    def __repr__(self) -> str:
        state = "not loaded" if self._loaded is None else "loaded"
        return f"<{type(self).__name__} {self._known_id or self.model_name!r}, {state}>"

    @abstractmethod
    def _open(self) -> LoadedModel:
        """Find the model and load it; any error it raises means that the model is unavailable."""

    def load(self) -> None:
        """Load the model now, rather than at the first text. Further calls do nothing.

        Safe to call from several threads: one loads, the others wait. A failure is not remembered.

        Raises:
            ModelUnavailableError: the model cannot be found, fetched, verified or run.
        """
        self._ready()

    def _ready(self) -> LoadedModel:
        if self._loaded is None:
            with self._loading:
                if self._loaded is None:
                    self._loaded = self._opened()
        return self._loaded

    def _opened(self) -> LoadedModel:
        try:
            return self._open()
        except RecallmError:
            raise
        except Exception as error:  # hub, tokenizer and runtime errors share no base
            reason = f"{type(error).__name__}: {error}"
            raise ModelUnavailableError(
                f"the embedding model {self.model_name!r} cannot be loaded ({reason}); {self._remedy}"
            ) from error

    @property
    def model_id(self) -> str:
        """Name and revision, or name and SHA-256, of the model; loads it where that is not known yet."""
        return self._known_id or self._ready().model_id

    @property
    def max_tokens(self) -> int:
        """Tokens the model reads of a text, special ones included; loads the model."""
        return self._ready().reader.max_tokens

    @property
    def dim(self) -> int:
        """Length of an embedding; loads the model."""
        return self._ready().dim

    def embed(self, text: str, /) -> NDArray[np.float32]:
        """Embed one text.

        Args:
            text: any text; what is beyond `max_tokens` is cut in silence (see `represents`).

        Returns:
            Shape (dim,), float32.

        Raises:
            InvalidTypeError: `text` is not a str.
            ModelUnavailableError: the model cannot be loaded.
        """
        vector: NDArray[np.float32] = self._ready().embed_texts([checks.text_to_embed(text)])[0]
        return vector

    def embed_batch(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Embed many texts; similar lengths are computed together, since padding costs time.

        Args:
            texts: any number of texts, in any order.

        Returns:
            Shape (len(texts), dim), float32, rows in the order of `texts`.

        Raises:
            InvalidTypeError: `texts` is one str, or holds something else than str.
            ModelUnavailableError: the model cannot be loaded.
        """
        import numpy as np

        checks.texts_to_embed(texts)
        loaded, order = self._ready(), sorted(range(len(texts)), key=lambda at: len(texts[at]))
        vectors = np.empty((len(texts), loaded.dim), dtype=np.float32)
        for start in range(0, len(order), _BATCH_SIZE):
            rows = order[start : start + _BATCH_SIZE]
            vectors[rows] = loaded.embed_texts([texts[row] for row in rows])
        return vectors

    def count_tokens(self, text: str, /) -> int:
        """Count the tokens of `text` before truncation, special ones included.

        Exact for up to 20 characters per token of `max_tokens`. Of a longer text only that much is
        read, and the count is at least ``max_tokens + 1``: it is taken to be too long, white space or not.
        """
        return self._ready().reader.count(checks.text_to_embed(text))

    def represents(self, text: str, /) -> bool:
        """Tell whether an embedding stands for all of `text`; where not, match the text exactly only.

        False for a text that is blank, longer than the model reads, or made of characters and words
        that the tokenizer does not know or drops: other texts can have the very same embedding.
        """
        return self._ready().reader.represents(checks.text_to_embed(text))


def measured_dim(embed_texts: Callable[[list[str]], NDArray[np.float32]]) -> int:
    """Embed a text to see that the model works, and return the length of its embedding.

    Raises:
        ModelUnavailableError: what it returns is not one finite vector.
    """
    import numpy as np

    vectors = embed_texts(["the quick brown fox"])
    if vectors.shape != (1, vectors.size) or vectors.size == 0 or not np.isfinite(vectors).all():
        raise ModelUnavailableError(
            f"the model returned an array of shape {vectors.shape} for one text; "
            f"it must be finite and of shape (1, dim)"
        )
    return int(vectors.shape[1])
