"""An embedder made safe to wait for: loaded once, its failures remembered, its vectors checked and kept for a while."""

from __future__ import annotations

import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from recallm import checks
from recallm.concurrency.breaker import Breaker
from recallm.concurrency.forking import ForkSafeLock, reset_after_fork
from recallm.concurrency.workers import Workers, follower
from recallm.embedders.base import as_embedder
from recallm.errors import ModelUnavailableError, OddVectorError
from recallm.records import ModelInfo
from recallm.telemetry.log import log_circuit_change
from recallm.typing import PROFILES, Embedder, EmbedderLike, is_visible

if TYPE_CHECKING:
    from recallm.typing import Vector

MEMO_ENTRIES = 1024
"""How many texts' vectors are kept: 1.6 MB with 384 dimensions."""

RETRY_SECONDS = 60.0
"""How long after a failed load the next one is tried: a hub that does not answer is asked once a minute."""

THREADS = 8
"""How many texts are embedded at once: eight callers of one model saturate its cores."""


class ManagedEmbedder:
    """One embedder, as calls use it.

    Args:
        embedder: see `recallm.typing.EmbedderLike`.
        clock: seconds that never go back.

    Attributes:
        original: the embedder as it was given.
        breaker: its circuit.
        workers: the threads it embeds in.
    """

    def __init__(self, embedder: EmbedderLike, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.original = embedder
        self.breaker = Breaker("embedder", clock=clock, changed=log_circuit_change)
        self.workers = Workers("recallm-embed", size=THREADS)
        self._embedder = as_embedder(embedder)
        self._loaders = Workers("recallm-load", size=1)
        self._clock = clock
        self._lock = ForkSafeLock()
        self._memo: OrderedDict[str, Vector | None] = OrderedDict()
        self._dim: int | None = None
        self._odd: tuple[int, str] | None = None
        self._info: ModelInfo | None = None
        self._loading: Future[ModelInfo] | None = None
        self._failed_at: float | None = None
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Forget the load of a thread that the child does not have."""
        self._loading = None

    def model_info(self) -> ModelInfo | Future[ModelInfo]:
        """Return what loading the model yields, or the future of it; one thread loads it for all who ask.

        Raises:
            ModelUnavailableError: the model could not be loaded. It is tried again after `RETRY_SECONDS`, and calls
                go on without it meanwhile.
        """
        if self._info is not None:
            return self._info
        with self._lock:
            loading = self._loading is not None and not self._loading.done()
            if self._failed_at is None:
                if self._loading is None or not loading:
                    self._loading = self._loaders.submit(self.load)
                return follower(self._loading)
            if not loading and self._clock() - self._failed_at >= RETRY_SECONDS:
                self._loading = self._loaders.submit(self.load)
        raise ModelUnavailableError("the embedding model could not be loaded; it is tried again every minute")

    def load_timed_out(self) -> None:
        """Have later calls go on without the model, until the load that took too long ends."""
        if self._info is None:
            self._failed_at = self._clock()

    def load(self) -> ModelInfo:
        """Load the model in place, unless it is loaded; this may take long.

        Raises:
            InvalidTypeError: its id is not a str.
            Exception: whatever the embedder raises.
        """
        if self._info is not None:
            return self._info
        try:
            self._embedder.load()
            info = ModelInfo(checks.model_id(self._embedder.model_id), _thresholds(self._embedder))
        except BaseException:
            self._failed_at = self._clock()
            raise
        self._info, self._failed_at = info, None
        return info

    def cached_vector(self, text: str) -> tuple[bool, Vector | None]:
        """Return whether a text was embedded lately, and its unit vector, or None if it may match exactly only."""
        with self._lock:
            if text not in self._memo:
                return False, None
            self._memo.move_to_end(text)
            return True, self._memo[text]

    def embed(self, text: str) -> Vector | None:
        """Return the unit vector of a text, or None if it may match exactly only; this may take long.

        Raises:
            OddVectorError: the embedder returned something that is not a vector, or is of another length.
            Exception: whatever the embedder raises.
        """
        from recallm.scoring import normalise  # numpy is loaded by whoever embeds first

        vector: Vector | None = None
        composed = _composed(text)
        if self.represents(composed):
            vector = normalise(self._embedder.embed(composed))
            self._check_dim(vector.size, composed)
        with self._lock:
            self._memo[text] = vector
            if len(self._memo) > MEMO_ENTRIES:
                self._memo.popitem(last=False)
        return vector

    def embed_many(self, texts: Sequence[str], *, at_once: int) -> Iterator[list[Vector | None]]:
        """Embed many texts in place, some at once; nothing is kept.

        Args:
            texts: any number of texts.
            at_once: how many the embedder is given at a time.

        Yields:
            The unit vectors of the next `at_once` texts, None for those that may match exactly only.

        Raises:
            OddVectorError: the embedder returned something that is not a vector, or not as many as there were texts.
            Exception: whatever the embedder raises.
        """
        from recallm.scoring import normalise

        for start in range(0, len(texts), at_once):
            part = [_composed(text) for text in texts[start : start + at_once]]
            readable = [text for text in part if self.represents(text)]
            vectors = [normalise(row) for row in self._embedder.embed_batch(readable)] if readable else []
            if len(vectors) != len(readable):
                raise OddVectorError(f"embed_batch returned {len(vectors)} vectors for {len(readable)} texts")
            by_text = dict(zip(readable, vectors, strict=True))
            yield [by_text.get(text) for text in part]

    def represents(self, text: str) -> bool:
        """Return whether the embedding of a text stands for all of it.

        Texts that show nothing are all alike, whatever the embedder says of them; it knows whether the text would be
        cut, which makes it like every other with the same beginning, and whether it has words that are unknown.
        """
        return is_visible(text) and self._embedder.represents(text)

    def _check_dim(self, dim: int, text: str) -> None:
        """Refuse a vector that is not as long as the others.

        Raises:
            OddVectorError: it is not, and it is the first of its length in a row; the next one of
                another text shows that the model has changed, or that the very first vector was odd.
        """
        if self._dim is None or dim == self._dim:
            self._dim, self._odd = dim, None
        elif self._odd is not None and self._odd[0] == dim and self._odd[1] != text:
            with self._lock:
                self._memo.clear()
            self._dim, self._odd = dim, None
        else:
            self._odd = dim, text
            raise OddVectorError(f"the embedder returned {dim} numbers, where it has always returned {self._dim}")


def _composed(text: str) -> str:
    """Return a text as models are given it: the same whether its accents are parts of letters or marks after them."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _thresholds(embedder: Embedder) -> dict[str, float]:
    calibrated: Any = embedder.thresholds or {}
    return {profile: float(calibrated[profile]) for profile in PROFILES if profile in calibrated}
