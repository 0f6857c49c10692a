"""An embedder made safe to wait for: loaded once, its failures remembered, its vectors checked and kept for a while."""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from sys import getsizeof
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from recallm import checks
from recallm.concurrency.breaker import Breaker
from recallm.concurrency.forking import reset_after_fork
from recallm.concurrency.memo import Memo
from recallm.concurrency.workers import Workers, follower
from recallm.embedders.base import as_embedder, settled
from recallm.errors import BusyError, ModelUnavailableError, OddVectorError
from recallm.records import ModelInfo
from recallm.telemetry.log import log_circuit_change
from recallm.typing import PROFILES, Embedder, EmbedderLike, is_visible

if TYPE_CHECKING:
    from recallm.typing import Vector

MEMO_BYTES = 8 << 20
"""How much memory the vectors of the latest texts take: some 4,000 with 384 dimensions, 600 with 3,072."""

VECTOR_BYTES = 400
"""What a vector in memory takes besides its numbers and its text: tuples, the array's header, its place in a table."""

RETRY_SECONDS = 60.0
"""How long after a failed load the next one is tried: a hub that does not answer is asked once a minute."""

MAX_THREADS = 32
"""How many threads call an embedder at most, however many it allows: that many wait for a network at once."""

QUICK_SECONDS = 0.05
"""An embedding that takes longer is begun only when it is known to be needed: it may be another machine's work."""

T = TypeVar("T")


class _Length(NamedTuple):
    """How long the vectors are, and one that was not: its length and its text."""

    dim: int | None = None
    odd: tuple[int, str] | None = None


class ManagedEmbedder:
    """One embedder, as calls use it.

    There is no lock: a signal handler or a finalizer that calls a cached function may run anywhere in here. The
    embedder itself is only called by `workers`, which are as many as it allows to call it at once.

    Args:
        embedder: see `recallm.typing.EmbedderLike`.
        clock: seconds that never go back.

    Attributes:
        original: the embedder as it was given.
        breaker: its circuit.
        workers: the threads it embeds in.

    Raises:
        InvalidTypeError: a method of the embedder is async, or its ``threads`` is not an int.
        InvalidValueError: its ``threads`` is below 1.
    """

    def __init__(self, embedder: EmbedderLike, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.original = embedder
        self._embedder = as_embedder(embedder)
        threads = checks.caller_threads(self._embedder.threads)
        self.breaker = Breaker("embedder", clock=clock, changed=log_circuit_change)
        self.workers = Workers("recallm-embed", size=min(threads, MAX_THREADS))
        # One that serves a single caller is not loaded beside another call either.
        self._loaders = self.workers if threads == 1 else Workers("recallm-load", size=1)
        self._clock = clock
        # A vector, or None, in a tuple.
        self._memo: Memo[tuple[str | None, str], tuple[Vector | None]] = Memo(MEMO_BYTES)
        self._length = _Length()
        self._info: ModelInfo | None = None
        self._loading: Future[ModelInfo] | None = None
        self._loads = 0
        self._failed_at: float | None = None
        self._is_quick = False
        self.after_fork()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Forget the load, and the calls, of threads that the child does not have."""
        self._loading = None
        self._inside: set[int] = set()
        self._ahead: dict[tuple[str | None, str], object] = {}

    def model_info(self) -> ModelInfo | Future[ModelInfo]:
        """Return what loading the model yields, or the future of it; one thread loads it for all who ask.

        Raises:
            ModelUnavailableError: the model could not be loaded. It is tried again after `RETRY_SECONDS`, and calls
                go on without it meanwhile.
            BusyError: the embedder itself asks while it is loaded, and would wait for itself.
        """
        info = self._info
        if info is not None:
            return info
        self._refuse_itself()
        loads, failed_at = self._loads, self._failed_at
        if failed_at is None:
            return follower(self._load_soon(loads))
        if self._clock() - failed_at >= RETRY_SECONDS:
            self._load_soon(loads)
        raise ModelUnavailableError(_NOT_LOADED)

    def _load_soon(self, loads: int) -> Future[ModelInfo]:
        """Return the load that is under way, or begin one, unless there were more loads by then than `loads`."""
        loading = self._loading
        if loading is None or loading.done():
            # Of two callers at the same moment each begins one, and the second ends at once.
            loading = self._loading = self._loaders.submit(partial(self._load_once, loads))
        return loading

    def _load_once(self, loads: int) -> ModelInfo:
        if self._info is None and self._loads != loads:
            raise ModelUnavailableError(_NOT_LOADED)
        return self._load()

    def load_timed_out(self) -> None:
        """Have later calls go on without the model, until the load that took too long ends."""
        if self._info is None:
            self._failed_at = self._clock()

    def load(self) -> ModelInfo:
        """Load the model, unless it is loaded, and wait for it; this may take long.

        Raises:
            InvalidTypeError: its id is not a str.
            BusyError: it is stuck in other calls.
            Exception: whatever the embedder raises.
        """
        return self._info or self._waited_for(self._loaders, self._load)

    def _load(self) -> ModelInfo:
        if self._info is not None:
            return self._info
        try:
            info = self._performed(self._loaded)
        except BaseException:
            self._failed_at = self._clock()
            raise
        else:
            self._info, self._failed_at = info, None
        finally:
            self._loads += 1
        return info

    def _loaded(self) -> ModelInfo:
        settled(self._embedder.load(), "load")  # type: ignore[func-returns-value]  # of a user's, it may
        return ModelInfo(checks.model_id(self._embedder.model_id), _thresholds(self._embedder))

    def cached_vector(self, text: str, model_id: str | None = None) -> tuple[bool, Vector | None]:
        """Return whether a text was embedded lately, and its unit vector, or None if it may match exactly only.

        Args:
            text: any text.
            model_id: the id of the model that has to have embedded it; None: not known.

        Raises:
            BusyError: it was not, and the embedder itself asks while it is called, and would wait for itself.
        """
        known = self._remembered(text, model_id)
        if known is not None:
            return True, known[0]
        self._refuse_itself()
        return False, None

    def _remembered(self, text: str, model_id: str | None) -> tuple[Vector | None] | None:
        known = self._memo.get((model_id, text))
        return known if known is not None and (known[0] is None or known[0].size == self._length.dim) else None

    def embed(self, text: str, model_id: str | None = None) -> Vector | None:
        """Return the unit vector of a text, or None if it may match exactly only; this may take long.

        Args:
            text: any text.
            model_id: the id of the model that has to embed it; None: not known.

        Raises:
            OddVectorError: the embedder returned something that is not a vector, or is of another length, or it has
                another model by now.
            Exception: whatever the embedder raises.
        """
        began = self._clock()
        vector = self._performed(partial(self._vector_in_turn, text, model_id))
        self._is_quick = self._clock() - began < QUICK_SECONDS
        self._keep(text, model_id, vector)
        return vector

    def _vector_in_turn(self, text: str, model_id: str | None) -> Vector | None:
        """Return what somebody else has had embedded while this waited for its turn, or have it embedded."""
        known = self._remembered(text, model_id)
        return self._vector(text, model_id) if known is None else known[0]

    def embed_ahead(self, text: str, model_id: str) -> Future[Vector | None] | None:
        """Begin to embed a text that may be needed soon; return the future of what `embed` returns.

        None: it takes long, as far as is known, or it has begun for somebody else.

        Raises:
            BusyError: every worker is stuck.
        """
        if not self._is_quick or self.breaker.state != "closed":
            return None
        name, mine = (model_id, text), object()
        if self._ahead.setdefault(name, mine) is not mine:
            return None
        try:
            future = self.workers.submit(partial(self.embed, text, model_id))
        except BaseException:
            self._ahead.pop(name, None)
            raise
        future.add_done_callback(lambda _: self._ahead.pop(name, None))
        return future

    def embed_turns(self, texts: Sequence[str], model_id: str) -> dict[str, Vector | None]:
        """Return the unit vectors of several texts by text, as `embed` returns that of one; this may take long.

        Raises:
            OddVectorError: as of `embed`, or there are not as many vectors as texts.
            Exception: whatever the embedder raises.
        """
        self._refuse_other_model(model_id)
        vectors = dict(zip(texts, self._performed(partial(self._vectors, texts)), strict=True))
        self._refuse_other_model(model_id)
        for text, vector in vectors.items():
            if vector is not None:
                self._check_dim(vector.size, text)
            self._keep(text, model_id, vector)
        return vectors

    def _keep(self, text: str, model_id: str | None, vector: Vector | None) -> None:
        size_bytes = VECTOR_BYTES + getsizeof(text) + (0 if vector is None else vector.nbytes)
        self._memo.put((model_id, text), (vector,), size_bytes)

    def _vector(self, text: str, model_id: str | None) -> Vector | None:
        from recallm.scoring import normalise  # numpy is loaded by whoever embeds first

        composed = _composed(text)
        self._refuse_other_model(model_id)
        if not self.represents(composed):
            return None
        vector = normalise(settled(self._embedder.embed(composed), "embed"))
        self._refuse_other_model(model_id)
        self._check_dim(vector.size, composed)
        return vector

    def _refuse_other_model(self, model_id: str | None) -> None:
        """Refuse to embed for a call that knows the model under another id, and have the next call learn the new one.

        Raises:
            OddVectorError: the id is another.
        """
        if model_id is None:
            return
        found = self._embedder.model_id
        if found == model_id:
            return
        info = self._info
        if info is not None and info.model_id != found:
            self._info, self._length = None, _Length()
        raise OddVectorError("the embedder's model_id has changed since the call began")

    def embed_many(self, texts: Sequence[str], *, at_once: int) -> Iterator[list[Vector | None]]:
        """Embed many texts, some at once, and wait for them; nothing is kept.

        Args:
            texts: any number of texts.
            at_once: how many the embedder is given at a time.

        Yields:
            The unit vectors of the next `at_once` texts, None for those that may match exactly only.

        Raises:
            OddVectorError: the embedder returned something that is not a vector, or not as many as there were texts.
            BusyError: it is stuck in other calls.
            Exception: whatever the embedder raises.
        """
        for start in range(0, len(texts), at_once):
            part = partial(self._vectors, texts[start : start + at_once])
            yield self._waited_for(self.workers, partial(self._performed, part))

    def _vectors(self, texts: Sequence[str]) -> list[Vector | None]:
        from recallm.scoring import normalise

        part = [_composed(text) for text in texts]
        readable = [text for text in part if self.represents(text)]
        rows = settled(self._embedder.embed_batch(readable), "embed_batch") if readable else []
        vectors = [normalise(row) for row in rows]
        if len(vectors) != len(readable):
            raise OddVectorError(f"embed_batch returned {len(vectors)} vectors for {len(readable)} texts")
        by_text = dict(zip(readable, vectors, strict=True))
        return [by_text.get(text) for text in part]

    def represents(self, text: str) -> bool:
        """Return whether the embedding of a text stands for all of it.

        Texts that show nothing are all alike, whatever the embedder says of them; it knows whether the text would be
        cut, which makes it like every other with the same beginning, and whether it has words that are unknown.
        """
        return is_visible(text) and settled(self._embedder.represents(text), "represents")

    def _performed(self, call: Callable[[], T]) -> T:
        """Return the result of a call of the embedder, made in this thread, which is one of its workers."""
        worker = threading.get_ident()
        self._inside.add(worker)
        try:
            return call()
        finally:
            self._inside.discard(worker)

    def _refuse_itself(self) -> None:
        """Refuse to wait for the embedder within a call of it, as of a finalizer that runs just then.

        Raises:
            BusyError: this thread is calling the embedder.
        """
        if threading.get_ident() in self._inside:
            raise BusyError("the embedder is asked by what it calls, and would wait for itself")

    def _waited_for(self, workers: Workers, task: Callable[[], T]) -> T:
        self._refuse_itself()
        future = workers.submit(task)
        try:
            result: T = future.result()
        except BaseException:
            future.cancel()
            raise
        return result

    def _check_dim(self, dim: int, text: str) -> None:
        """Refuse a vector that is not as long as the others.

        Raises:
            OddVectorError: it is not, and it is the first of its length in a row; the next one of
                another text shows that the model has changed, or that the very first vector was odd.
        """
        known, odd = self._length
        if known is None or dim == known:
            self._length = _Length(dim)
        elif odd is not None and odd[0] == dim and odd[1] != text:
            self._memo.clear()
            self._length = _Length(dim)
        else:
            self._length = _Length(known, (dim, text))
            raise OddVectorError(f"the embedder returned {dim} numbers, where it has always returned {known}")


_NOT_LOADED = "the embedding model could not be loaded; it is tried again every minute"


def _composed(text: str) -> str:
    """Return a text as models are given it: the same whether its accents are parts of letters or marks after them."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _thresholds(embedder: Embedder) -> dict[str, float]:
    calibrated: Any = embedder.thresholds or {}
    return {profile: float(calibrated[profile]) for profile in PROFILES if profile in calibrated}
