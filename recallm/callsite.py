"""One cached function: its calls read, run and maintained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from recallm import registry
from recallm.drivers import World, arun, awaited, run
from recallm.flow import Flow, Plan, answer, bypass
from recallm.keying import Keyer, Request
from recallm.maintenance import explain, forget
from recallm.records import Bypass, Compared, Event, Explanation, Failure
from recallm.shapes import Shape

if TYPE_CHECKING:
    from recallm.cache import SemanticCache
    from recallm.events import Advice


T = TypeVar("T")


class Invocation(NamedTuple):
    """One call: the callable to call, the arguments to call it with, and what precedes them when bound."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    owner: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CallSite:
    """A function with its cache.

    Attributes:
        cache: where its answers are kept and its statistics counted.
        keyer: reads its calls.
        plan: how it is cached.
        advice: warns its author.
        shape: how its calls are made.
    """

    cache: SemanticCache
    keyer: Keyer
    plan: Plan
    advice: Advice
    shape: Shape

    def call(self, invocation: Invocation, *, reuse: bool = True) -> Any:
        """Answer a call of a sync function."""
        request, own = self._read(invocation)
        flow, world = self._start(request, reuse=reuse)
        return run(flow, world, lambda: invocation.function(*invocation.args, **own))

    async def acall(self, invocation: Invocation, *, reuse: bool = True) -> Any:
        """Answer a call of an async function."""
        request, own = self._read(invocation)
        flow, world = self._start(request, reuse=reuse)
        return await arun(flow, world, lambda: awaited(invocation.function(*invocation.args, **own)))

    def pass_through(self, invocation: Invocation) -> Any:
        """Call a generator function, which is never cached."""
        _, own = self.keyer.split_options(invocation.kwargs)
        self.cache.recorder.record(Bypass("generator"), 0.0)
        return invocation.function(*invocation.args, **own)

    def explain(self, invocation: Invocation) -> Explanation:
        """Tell what a call would get."""
        return self._maintain(self._explaining(invocation))

    async def aexplain(self, invocation: Invocation) -> Explanation:
        """Tell what a call would get."""
        return await self._amaintain(self._explaining(invocation))

    def invalidate(self, invocation: Invocation) -> int:
        """Remove what a call would hit."""
        return self._maintain(self._forgetting(invocation))

    async def ainvalidate(self, invocation: Invocation) -> int:
        """Remove what a call would hit."""
        return await self._amaintain(self._forgetting(invocation))

    def _read(self, invocation: Invocation) -> tuple[Request | Bypass | Failure, dict[str, Any]]:
        options, own = self.keyer.split_options(invocation.kwargs)
        if self.shape == "generator":
            return Bypass("generator"), own
        args = invocation.owner + invocation.args if invocation.owner else invocation.args
        return self.keyer.request(args, own, options), own

    def _start(self, request: Request | Bypass | Failure, *, reuse: bool) -> tuple[Flow[Any], World]:
        context: Mapping[Any, Any] = {}
        recordings = registry.recordings
        if isinstance(request, Request):
            self.cache.saw(request.namespace)
            context = request.context
            flow = answer(self.plan, request, reuse=reuse, watched=bool(recordings))
        else:
            flow = bypass(request)

        def observe(event: Event, elapsed: float) -> None:
            self.cache.recorder.record(event, elapsed)
            self.advice.on(event, context)
            if recordings and isinstance(event, Compared):
                for recording in recordings:
                    recording.offer(event)

        return flow, self.cache.world(observe)

    def _explaining(self, invocation: Invocation) -> Flow[Explanation]:
        request, _ = self._read(invocation)
        match request:
            case Request():
                return explain(self.plan, request)
            case Bypass(reason):
                return _settled(Explanation("bypass", reason))
            case Failure(stage):
                return _settled(Explanation("bypass", stage))

    def _forgetting(self, invocation: Invocation) -> Flow[int]:
        request, _ = self._read(invocation)
        return forget(self.plan, request) if isinstance(request, Request) else _settled(0)

    def _maintain(self, flow: Flow[T]) -> T:
        return run(flow, self.cache.world(_unobserved), _uncalled)

    async def _amaintain(self, flow: Flow[T]) -> T:
        return await arun(flow, self.cache.world(_unobserved), _uncalled)


def _settled(result: T) -> Flow[T]:
    return result
    yield  # makes this a flow, of no effects


def _unobserved(_event: Event, _elapsed: float) -> None:
    return


def _uncalled() -> Any:
    raise AssertionError("maintenance never calls the function")


def where_defined(fn: Any) -> tuple[str, int]:
    """Return the file and line of a function, or of nothing known."""
    code = getattr(fn, "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code is not None else ("<unknown>", 1)
