"""The cache as an object: settings, a storage, an embedder and statistics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from recallm import registry
from recallm.binding import Binder
from recallm.breaker import Breaker
from recallm.callsite import CallSite, where_defined
from recallm.codec import Codec
from recallm.config import CacheConfig, checked_text, checked_ttl
from recallm.drivers import World, arun, checked_storage, run
from recallm.effects import Invalidate, Prepare, Sizes
from recallm.encoding import Encoder, checked_embedder
from recallm.errors import CircuitOpenError, InvalidTypeError
from recallm.events import Advice, Recorder
from recallm.flow import Flow, Plan
from recallm.forking import ForkSafeLock
from recallm.guards import DEFAULT_GUARDS
from recallm.identity import function_path
from recallm.keying import Keyer
from recallm.options import (
    checked_callable,
    checked_context,
    checked_flag,
    checked_guards,
    checked_namespace,
    checked_response_type,
)
from recallm.records import Event, Failure
from recallm.shapes import bare, checked_ignore, checked_prompt, chosen_shape, shape_of
from recallm.storage.base import StorageBackend
from recallm.tally import CacheStats
from recallm.typing import Context, Embedder, Guard, Mode, Namespace, Prompt, Seconds, StoreIf, Verifier

if TYPE_CHECKING:
    from recallm.cached import CachedFunction

P = ParamSpec("P")
R = TypeVar("R")

MAX_NAMESPACES = 10_000
"""How many namespaces a cache remembers having used; the oldest are forgotten first."""

UNSET: Any = object()


class SemanticCache:
    """A semantic cache: wraps functions, keeps their answers, counts what it does.

    Args:
        storage: a storage, a registered name or a URL; None: ``"default"``, shared by the process.
        config: settings; None: `CacheConfig()`.
        embedder: see `recallm.typing.Embedder`; None: the default one, shared by the process.
        guards: asked in order about each candidate at or above the threshold; ``()``: none.
        name: name under which `recallm.stats(name)` reports this cache; None: the default namespace.

    Raises:
        InvalidTypeError: an argument has the wrong type.
        UnknownNameError: no such storage is registered.
    """

    def __init__(
        self,
        storage: StorageBackend | str | None = None,
        config: CacheConfig | None = None,
        embedder: Embedder | None = None,
        *,
        guards: Sequence[Guard] = DEFAULT_GUARDS,
        name: str | None = None,
    ) -> None:
        if config is not None and not isinstance(config, CacheConfig):
            raise InvalidTypeError(f"config={config!r} is a {type(config).__name__}; use a CacheConfig")
        self.config = config if config is not None else CacheConfig()
        self.name = self.config.default_namespace if name is None else checked_text(name, field="name")
        self.guards = checked_guards(guards)
        self._storage = _checked_storage_source("default" if storage is None else storage)
        self._encoder = None if embedder is None else registry.encoder_of(checked_embedder(embedder))
        self._lock = ForkSafeLock()
        self._namespaces: dict[str, None] = {}
        self.recorder = Recorder(self.name, metrics=registry.metrics)
        registry.add_cache(self)

    def __repr__(self) -> str:
        stats = self.recorder.ledger.stats
        return f"<SemanticCache {self.name!r}: {stats.hits} hits, {stats.misses} misses>"

    @property
    def storage(self) -> StorageBackend:
        """Where the entries are now: a name may come to stand for another storage."""
        return registry.get_storage(self._storage) if isinstance(self._storage, str) else self._storage

    @property
    def storage_breaker(self) -> Breaker:
        """What keeps calls from the storage while it is in trouble."""
        return registry.breaker_of(self.storage)

    @property
    def encoder(self) -> Encoder:
        """The embedder in use now: the default one may change."""
        return registry.default_encoder(self.config.embedding_model) if self._encoder is None else self._encoder

    @property
    def embedder(self) -> Embedder:
        """What turns prompts into vectors."""
        return self.encoder.embedder

    def wrap(  # noqa: PLR0913  # the options of the public contract
        self,
        fn: Callable[P, R],
        *,
        mode: Mode = "auto",
        context: Context | None = None,
        prompt: Prompt | None = None,
        namespace: Namespace | None = None,
        ignore: Collection[str] = (),
        ttl: Seconds | None = UNSET,
        store_if: StoreIf | None = None,
        verify: Verifier | None = None,
        response_type: Any = None,
        coalesce: bool = True,
        stale_if_error: Seconds | None = None,
    ) -> CachedFunction[P, R]:
        """Return `fn` with its answers cached here.

        Args:
            fn: a function, method, partial or callable object, sync or async.
            mode: ``"auto"``: as `fn` is; ``"async"``: the result is awaited, and so is what `fn` returns
                where it can be; ``"sync"``: `fn` must not be async.
            context: mapping, or callable of all arguments by name that returns one; None: every call
                must pass ``cache_context=``.
            prompt: name of the argument that carries the prompt, or a callable of all arguments that
                returns it; None: inferred.
            namespace: str, or callable of all arguments; None: the config's default.
            ignore: names of arguments and closed-over variables that do not affect the answer.
            ttl: seconds or timedelta; None: no expiry; not given: the config's default.
            store_if: predicate of the response; None: everything but None is stored.
            verify: asked last about a similar prompt's answer: ``(prompt, cached_prompt, response) -> bool``,
                sync or async; what it refuses, or takes too long over, is a miss.
            response_type: type of the responses, where the return annotation does not tell.
            coalesce: whether calls that want the same answer at the same time wait for one to make it.
            stale_if_error: seconds or timedelta for which an answer that has expired is served where the
                function raises an `Exception`; None: what it raises reaches the caller.

        Raises:
            InvalidTypeError: an option has the wrong type, or the storage cannot serve such a function.
            InvalidValueError: an option has a value that is not allowed.
            SignatureMismatchError: an option names no argument of `fn`, or the prompt cannot be inferred.
        """
        if not callable(bare(fn)):
            raise InvalidTypeError(
                f"{fn!r} is a {type(fn).__name__}; only what can be called can be cached, "
                "and options are passed by keyword: semantic_cache(threshold=...)"
            )
        shape = chosen_shape(fn, mode)
        inner = bare(fn) if isinstance(fn, staticmethod | classmethod) else fn
        binder = Binder(inner)
        ignored = checked_ignore(fn, binder, ignore)
        identity = registry.identities.of(inner, ignored)
        where = self.config.default_namespace if namespace is None else checked_namespace(namespace)
        keyer = Keyer(
            binder=binder,
            identity=registry.identities.reader(inner, ignored),
            prompt="" if shape == "generator" else checked_prompt(inner, binder, prompt, ignored),
            context=checked_context(context),
            namespace=where,
            ignore=ignored,
            ttl=checked_ttl(self.config.default_ttl if ttl is UNSET else ttl),
        )
        plan = Plan(
            threshold=self.config.threshold,
            guards=self.guards,
            codec=Codec.for_function(inner, checked_response_type(response_type)),
            store_if=checked_callable(store_if, "store_if"),
            verifier=checked_callable(verify, "verify"),
            coalesce=checked_flag(coalesce, "coalesce"),
            stale_seconds=checked_ttl(stale_if_error, field="stale_if_error"),
        )
        advice = Advice(function_path(fn), where=where_defined(bare(fn)))
        storage = registry.resolved(self._storage)
        if storage is not None:
            checked_storage(storage, asynchronous=shape != "sync")
            if storage.blocking:
                advice.on_identity(identity)
        if isinstance(where, str):
            self.saw(where)
        site = CallSite(self, keyer, plan, advice, shape)
        # wrapt is a tenth of recallm's import time; whoever decorates pays it.
        from recallm.cached import CachedFunction, awaitable

        return CachedFunction(awaitable(fn) if shape != shape_of(fn) else fn, site)  # type: ignore[arg-type]

    def stats(self) -> CacheStats:
        """Return what this cache has done, and the sizes of its namespaces now."""
        sizes = self.namespace_sizes(sorted(self.namespaces))
        return replace(self.recorder.ledger.stats, namespace_sizes=sizes, circuits=self.circuits)

    @property
    def circuits(self) -> Mapping[str, str]:
        """The parts that are left alone for failing, and whether they are tried again just now."""
        try:
            states = {"storage": self.storage_breaker.state, "embedder": self.encoder.breaker.state}
        except Exception as error:  # noqa: BLE001  # statistics must be had though a name is no longer registered
            self.recorder.record(Failure("storage", error), 0.0)
            return {}
        return {part: state for part, state in states.items() if state != "closed"}

    def reset_stats(self) -> None:
        """Begin the statistics anew; entries stay."""
        self.recorder.ledger.reset()

    def invalidate_namespace(self, namespace: str) -> int:
        """Remove all entries of a namespace, and keep answers being computed now from being stored in it.

        Returns:
            How many entries there were.

        Raises:
            Exception: whatever the storage raises: who removes answers must know whether they are gone.
        """
        return run(_invalidating((checked_text(namespace, field="namespace"),)), self.world(), _uncalled)

    async def ainvalidate_namespace(self, namespace: str) -> int:
        """Remove all entries of a namespace without blocking the event loop. See `invalidate_namespace`."""
        return await arun(_invalidating((checked_text(namespace, field="namespace"),)), self.world(), _uncalled)

    def clear(self) -> int:
        """Remove all entries of the namespaces this cache has used; return how many there were."""
        return run(_invalidating(self.namespaces), self.world(), _uncalled)

    async def aclear(self) -> int:
        """Remove all entries of the namespaces this cache has used, without blocking the event loop."""
        return await arun(_invalidating(self.namespaces), self.world(), _uncalled)

    def warmup(self) -> bool:
        """Load the model now, so that the first call need not wait; return whether it is ready."""
        return run(_warming(self.recorder), self.world(), _uncalled)

    async def async_warmup(self) -> bool:
        """Load the model now without blocking the event loop; return whether it is ready."""
        return await arun(_warming(self.recorder), self.world(), _uncalled)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces this cache has used."""
        with self._lock:
            return tuple(self._namespaces)

    def namespace_sizes(self, namespaces: Sequence[str]) -> Mapping[str, int]:
        """Return the number of live entries of each namespace that has any; nothing where it cannot be told."""
        return run(_sizing(namespaces, self.recorder), self.world(), _uncalled)

    def saw(self, namespace: str) -> None:
        """Remember a namespace, so that `clear` and `stats` know of it."""
        if namespace in self._namespaces:
            return
        with self._lock:
            if len(self._namespaces) >= MAX_NAMESPACES:
                self._namespaces.pop(next(iter(self._namespaces)), None)
            self._namespaces[namespace] = None

    def world(self, observe: Callable[[Event, float], object] | None = None) -> World:
        """Return what the effects of one call are performed on."""
        observer = self.recorder.record if observe is None else observe
        return World(self, observer, perf_counter())


def _invalidating(namespaces: Sequence[str]) -> Flow[int]:
    removed = 0
    for namespace in namespaces:
        removed += yield Invalidate(namespace)
    return removed


def _sizing(namespaces: Sequence[str], recorder: Recorder) -> Flow[Mapping[str, int]]:
    try:
        sizes: Mapping[str, int] = yield Sizes(namespaces)
        return {str(name): int(size) for name, size in sizes.items()}
    except CircuitOpenError:
        return {}
    except Exception as error:  # noqa: BLE001  # statistics must be had while the storage is away
        recorder.record(Failure("storage", error), 0.0)
        return {}


def _warming(recorder: Recorder) -> Flow[bool]:
    try:
        yield Prepare()
    except Exception as error:  # noqa: BLE001  # a service must start without its model
        recorder.record(Failure("model", error), 0.0)
        return False
    return True


def _uncalled() -> Any:
    raise AssertionError("maintenance never calls the function")


def _checked_storage_source(storage: object) -> StorageBackend | str:
    if isinstance(storage, str):
        return registry.known_storage(storage)
    if isinstance(storage, StorageBackend):
        return storage
    raise InvalidTypeError(
        f"storage={storage!r} is a {type(storage).__name__}; use a StorageBackend, a registered name or a URL"
    )
