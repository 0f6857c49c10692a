"""What every embedder is made of: any object made an `Embedder`, and a base class of those that load a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar

from recallm import checks
from recallm.concurrency.forking import ForkSafeLock
from recallm.embedders.model_files import OFFLINE_INSTALL_COMMAND
from recallm.errors import InvalidTypeError, ModelUnavailableError, RecallmError
from recallm.keying.signature import call_kind
from recallm.typing import Embedder, EmbedderLike

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recallm.embedders.tokens import TextReader

BATCH_SIZE = 32
"""Texts of one inference. On a CPU 8 to 64 are equally fast; more are slower, and padding takes memory."""


METHODS = ("embed", "embed_batch", "load", "represents", "count_tokens")

_SYNC = (
    "recallm calls it in threads of its own, which keep no event loop waiting, and awaits nothing: "
    "write `def {method}` with a client that is not async"
)


def as_embedder(embedder: EmbedderLike) -> Embedder:
    """Return an `Embedder` that does what an object does, with the defaults for what the object does not have.

    Raises:
        InvalidTypeError: a method is async. An event loop of recallm's own would be one that the object's client does
            not belong to, and the caller's may be busy or gone, so nothing is awaited.
    """
    for method in METHODS:
        kind = call_kind(getattr(embedder, method, None))
        if kind == "async" or (kind == "generator" and method == "embed"):
            what = "async" if kind == "async" else "a generator function"
            raise InvalidTypeError(
                f"{method} of the embedder, a {type(embedder).__name__}, is {what}; {_SYNC.format(method=method)}"
            )
    return embedder if isinstance(embedder, Embedder) else _Adapted(embedder)


def settled(result: Any, method: str) -> Any:
    """Return what a method of an embedder returned, unless that has to be awaited.

    Raises:
        ModelUnavailableError: it has.
    """
    if not isawaitable(result):
        return result
    for end in ("close", "cancel"):
        if callable(getattr(result, end, None)):
            getattr(result, end)()
            break
    raise ModelUnavailableError(
        f"{method} of the embedder returned a {type(result).__name__}, which is to be awaited; "
        f"{_SYNC.format(method=method)}"
    )


class _Adapted(Embedder):
    """An object that has some members of an `Embedder`; the only place that looks for them."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        threads = self._optional("threads")
        self.threads = 1 if threads is None else threads

    def _optional(self, name: str) -> Any:
        return getattr(self._inner, name, None)

    @property
    def model_id(self) -> str:
        model_id: str = self._inner.model_id
        return model_id

    @property
    def max_tokens(self) -> int | None:
        return self._optional("max_tokens") if callable(self._optional("count_tokens")) else None

    @property
    def thresholds(self) -> Mapping[str, float]:
        return self._optional("thresholds") or {}

    def embed(self, text: str, /) -> Any:
        return self._inner.embed(text)

    def embed_batch(self, texts: Sequence[str], /) -> Any:
        embed_batch = self._optional("embed_batch")
        return embed_batch(texts) if callable(embed_batch) else super().embed_batch(texts)

    def load(self) -> None:
        load = self._optional("load")
        if callable(load):
            settled(load(), "load")

    def count_tokens(self, text: str, /) -> int:
        counted: int = settled(self._inner.count_tokens(text), "count_tokens")
        return counted

    def represents(self, text: str, /) -> bool:
        represents = self._optional("represents")
        return bool(settled(represents(text), "represents")) if callable(represents) else super().represents(text)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that can embed.

    Attributes:
        model_id: name and revision, or name and SHA-256.
        dim: length of an embedding.
        reader: counts tokens as the model does.
        embed_texts: n texts, at least one -> shape (n, dim), float32; safe to call from several threads.
    """

    model_id: str
    dim: int
    reader: TextReader
    embed_texts: Callable[[list[str]], NDArray[np.float32]]


class LoadOnUseEmbedder(Embedder):
    """An embedder whose model is loaded once: by `load`, or by the first member that needs it.

    A subclass implements `_load_model`. It may set `_known_id` if it knows the model's id without loading it.

    Args:
        model_name: what messages and `repr` call the model until its id is known.

    Attributes:
        threads: how many threads may call the embedder at once: eight callers of one model saturate its cores.
    """

    threads = 8

    _remedy: ClassVar[str] = (
        f"run: {OFFLINE_INSTALL_COMMAND} (needs no network), pass model_path=, or check the network and the cache"
    )
    """What to do if the model cannot be loaded: the end of the error's message."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._known_id: str | None = None
        self._model: LoadedModel | None = None
        # A finalizer, or a signal handler, that embeds may run while this thread loads.
        self._load_lock = ForkSafeLock()

    def __getstate__(self) -> dict[str, Any]:
        # A copy, or what is sent to another process, loads its model itself.
        return {**vars(self), "_model": None, "_load_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _load_lock=ForkSafeLock())

    def __repr__(self) -> str:
        state = "not loaded" if self._model is None else "loaded"
        return f"<{type(self).__name__} {self._known_id or self.model_name!r}, {state}>"

    @abstractmethod
    def _load_model(self) -> LoadedModel:
        """Find the model and load it; any error it raises means that the model is unavailable."""

    def load(self) -> None:
        """Load the model now, rather than at the first text. Further calls do nothing.

        Safe to call from several threads: one loads, the others wait. A failure is not remembered.

        Raises:
            ModelUnavailableError: the model cannot be found, fetched, verified or run.
        """
        self._loaded_model()

    def _loaded_model(self) -> LoadedModel:
        if self._model is None:
            with self._load_lock:
                if self._model is None:
                    self._model = self._load_or_explain()
        return self._model

    def _load_or_explain(self) -> LoadedModel:
        try:
            return self._load_model()
        except RecallmError:
            raise
        except Exception as error:  # hub, tokenizer and runtime errors share no base
            reason = f"{type(error).__name__}: {error}"
            raise ModelUnavailableError(
                f"the embedding model {self.model_name!r} cannot be loaded ({reason}); {self._remedy}"
            ) from error

    @property
    def model_id(self) -> str:
        """Name and revision, or name and SHA-256, of the model; loads it if only the loaded model has them."""
        return self._known_id or self._loaded_model().model_id

    @property
    def max_tokens(self) -> int:
        """Tokens the model reads of a text, special ones included; loads the model."""
        return self._loaded_model().reader.max_tokens

    @property
    def dim(self) -> int:
        """Length of an embedding; loads the model."""
        return self._loaded_model().dim

    def embed(self, text: str, /) -> NDArray[np.float32]:
        """Embed one text.

        Args:
            text: any text; the model does not read what is beyond `max_tokens` (see `represents`).

        Returns:
            Shape (dim,), float32.

        Raises:
            InvalidTypeError: `text` is not a str.
            ModelUnavailableError: the model cannot be loaded.
        """
        vector: NDArray[np.float32] = self._loaded_model().embed_texts([checks.text_to_embed(text)])[0]
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
        model = self._loaded_model()
        by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors = np.empty((len(texts), model.dim), dtype=np.float32)
        for start in range(0, len(by_length), BATCH_SIZE):
            rows = by_length[start : start + BATCH_SIZE]
            vectors[rows] = model.embed_texts([texts[row] for row in rows])
        return vectors

    def count_tokens(self, text: str, /) -> int:
        """Return how many tokens `text` has before it is cut, special ones included.

        The count is exact for texts of up to 20 characters per token of `max_tokens`. Of a longer text only that much
        is read, and the count is at least ``max_tokens + 1``: the text counts as too long, even if it is white space.

        Raises:
            InvalidTypeError: `text` is not a str.
            ModelUnavailableError: the model cannot be loaded.
        """
        return self._loaded_model().reader.count(checks.text_to_embed(text))

    def represents(self, text: str, /) -> bool:
        """Return whether an embedding stands for all of `text`; if not, the text is matched exactly only.

        It does not if the text is blank, is longer than the model reads, or has words or characters that the tokenizer
        does not know, drops or folds with others: other texts can then have the very same embedding.

        Raises:
            InvalidTypeError: `text` is not a str.
            ModelUnavailableError: the model cannot be loaded.
        """
        return self._loaded_model().reader.represents(checks.text_to_embed(text))


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
