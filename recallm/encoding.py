"""An embedder made safe to wait for: loaded once, its failures remembered, its vectors checked and memoised."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from recallm.breaker import Breaker
from recallm.config import PROFILES
from recallm.effects import Prepared
from recallm.errors import InvalidTypeError, ModelUnavailableError, OddVectorError
from recallm.events import told
from recallm.forking import heed_forks, renewed
from recallm.typing import Embedder
from recallm.workers import Workers, follower

if TYPE_CHECKING:
    from recallm.typing import Vector

MEMO_ENTRIES = 1024
RETRY_SECONDS = 60.0
THREADS = 8


def checked_embedder(embedder: object) -> Embedder:
    """Return `embedder` where it has what an embedder needs.

    Raises:
        InvalidTypeError: it has no callable ``embed``, or no ``model_id`` of type str.
    """
    wanted = "an embedder has model_id: str and embed(text) -> sequence of float"
    # The class is asked first: a property may have to load the model to answer.
    if isinstance(embedder, type) or not callable(getattr(embedder, "embed", None)):
        raise InvalidTypeError(f"embedder={embedder!r} has no embed method; {wanted}")
    if isinstance(getattr(type(embedder), "model_id", None), property):
        return embedder  # type: ignore[return-value]  # the protocol was checked by hand
    if not isinstance(getattr(embedder, "model_id", None), str):
        raise InvalidTypeError(f"embedder={embedder!r} has no model_id of type str; {wanted}")
    return embedder  # type: ignore[return-value]  # the protocol was checked by hand


class Encoder:
    """One embedder, as the flows use it.

    Args:
        embedder: see `recallm.typing.Embedder`.
        clock: seconds that never go back.
    """

    def __init__(self, embedder: Embedder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.embedder = embedder
        self.breaker = Breaker("embedder", clock=clock, changed=told)
        self.workers = Workers("recallm-embed", size=THREADS)
        self._loaders = Workers("recallm-load", size=1)
        self._clock = clock
        self._lock = threading.Lock()
        self._memo: OrderedDict[str, Vector | None] = OrderedDict()
        self._dim: int | None = None
        self._odd: tuple[int, str] | None = None
        self._prepared: Prepared | None = None
        self._loading: Future[Any] | None = None
        self._failed_at: float | None = None
        heed_forks(self)

    def after_fork(self) -> None:
        """Find the lock free, and nobody loading."""
        self._lock = renewed(self._lock)
        self._loading = None

    def prepare(self) -> Prepared | Future[Prepared]:
        """Have the model loaded: once, by one thread, whoever asks.

        Raises:
            ModelUnavailableError: it could not be loaded; after `RETRY_SECONDS` it is tried again, and
                calls go on without it meanwhile.
        """
        if self._prepared is not None:
            return self._prepared
        with self._lock:
            loading = self._loading is not None and not self._loading.done()
            if self._failed_at is None:
                if self._loading is None or not loading:
                    self._loading = self._loaders.submit(self._load)
                return follower(self._loading)
            if not loading and self._clock() - self._failed_at >= RETRY_SECONDS:
                self._loading = self._loaders.submit(self._load)
        raise ModelUnavailableError("the embedding model could not be loaded; it is tried again every minute")

    def give_up(self) -> None:
        """Have later calls go on without the model, until the load that took too long ends."""
        if self._prepared is None:
            self._failed_at = self._clock()

    def known(self, text: str) -> tuple[bool, Vector | None]:
        """Return whether a text was embedded lately, and its unit vector, or None where it may match exactly only."""
        with self._lock:
            if text not in self._memo:
                return False, None
            self._memo.move_to_end(text)
            return True, self._memo[text]

    def _load(self) -> Prepared:
        try:
            load = getattr(self.embedder, "load", None)
            if callable(load):
                load()
            model_id = self.embedder.model_id
            if not isinstance(model_id, str):
                raise InvalidTypeError(f"model_id={model_id!r} is a {type(model_id).__name__}; it must be a str")
            prepared = Prepared(model_id, _thresholds(self.embedder))
        except BaseException:
            self._failed_at = self._clock()
            raise
        self._prepared, self._failed_at = prepared, None
        return prepared

    def encode(self, text: str) -> Vector | None:
        """Return the unit vector of a text, or None where it may match exactly only; this may take long.

        Raises:
            OddVectorError: the embedder returned something that is not a vector, or is of another length.
            Exception: whatever the embedder raises.
        """
        from recallm.scoring import normalise  # numpy is loaded by whoever embeds first

        vector: Vector | None = None
        if represents(self.embedder, text):
            vector = normalise(self.embedder.embed(text))
            self._check_dim(vector.size, text)
        with self._lock:
            self._memo[text] = vector
            if len(self._memo) > MEMO_ENTRIES:
                self._memo.popitem(last=False)
        return vector

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


def represents(embedder: Embedder, text: str) -> bool:
    """Return whether an embedding can tell `text` from others.

    Texts of nothing visible are all alike, a truncated text is like every other with its beginning, and unknown
    tokens are like each other.
    """
    if not any(character.isprintable() and not character.isspace() for character in text):
        return False
    own = getattr(embedder, "represents", None)
    if callable(own):
        return bool(own(text))
    count_tokens, max_tokens = getattr(embedder, "count_tokens", None), getattr(embedder, "max_tokens", None)
    if callable(count_tokens) and max_tokens is not None:
        return bool(count_tokens(text) <= max_tokens)
    return True


def _thresholds(embedder: Embedder) -> Mapping[str, float]:
    calibrated = getattr(embedder, "thresholds", None) or {}
    return {profile: float(calibrated[profile]) for profile in PROFILES if profile in calibrated}
