"""One cached function: turns each of its calls into a request, starts the flow and drives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from recallm.engine.core import Core
from recallm.engine.drivers import EffectHandler, amaintain, arun, awaited, maintain, run
from recallm.engine.flow import Flow, Plan, answer, bypass
from recallm.engine.maintenance import explain, forget
from recallm.keying.keyer import Keyer, Request
from recallm.keying.signature import CallKind
from recallm.records import Bypass, Compared, Event, Explanation, Failure, Hit
from recallm.telemetry.advice import Advice
from recallm.telemetry.recording import active_recordings

T = TypeVar("T")


class Invocation(NamedTuple):
    """One call: the function, its arguments, and the object or class that it is bound to, if any, as `owner`."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    owner: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CallSite:
    """A function that is cached.

    Attributes:
        core: the state shared by all functions of one cache.
        keyer: turns its calls into requests.
        plan: how the function is cached.
        advice: warns the function's author of calls that cannot be cached.
        kind: how its calls run: sync, async or as a generator.
    """

    core: Core
    keyer: Keyer
    plan: Plan
    advice: Advice
    kind: CallKind

    def call(self, invocation: Invocation, *, reuse: bool = True) -> Any:
        """Answer a call of a sync function."""
        request, own = self._read(invocation)
        flow, handler = self._start(invocation, request, reuse=reuse, asynchronous=False)
        return run(flow, handler, lambda: invocation.function(*invocation.args, **own))

    async def acall(self, invocation: Invocation, *, reuse: bool = True) -> Any:
        """Answer a call of an async function."""
        request, own = self._read(invocation)
        flow, handler = self._start(invocation, request, reuse=reuse, asynchronous=True)
        return await arun(flow, handler, lambda: awaited(invocation.function(*invocation.args, **own)))

    def pass_through(self, invocation: Invocation) -> Any:
        """Call a generator function, which is never cached."""
        _, own = self.keyer.split_options(invocation.kwargs)
        bypass_reason = Bypass("generator", None, "return the whole answer instead of generating it")
        self.core.recorder.record(bypass_reason, 0.0)
        self.advice.on(bypass_reason, dict)
        return invocation.function(*invocation.args, **own)

    def explain(self, invocation: Invocation) -> Explanation:
        """Explain what a call would get."""
        return maintain(self._explaining(invocation), self.core, _unobserved)

    async def aexplain(self, invocation: Invocation) -> Explanation:
        """Explain what a call would get."""
        return await amaintain(self._explaining(invocation), self.core, _unobserved)

    def invalidate(self, invocation: Invocation) -> int:
        """Remove the entries that a call would hit, and return how many there were."""
        return maintain(self._forgetting(invocation), self.core, _unobserved)

    async def ainvalidate(self, invocation: Invocation) -> int:
        """Remove the entries that a call would hit, and return how many there were."""
        return await amaintain(self._forgetting(invocation), self.core, _unobserved)

    def _read(self, invocation: Invocation) -> tuple[Request | Bypass | Failure, dict[str, Any]]:
        options, own = self.keyer.split_options(invocation.kwargs)
        if self.kind == "generator":
            return Bypass("generator"), own
        args = invocation.owner + invocation.args if invocation.owner else invocation.args
        return self.keyer.request(args, own, options), own

    def _start(
        self, invocation: Invocation, request: Request | Bypass | Failure, *, reuse: bool, asynchronous: bool
    ) -> tuple[Flow[Any], EffectHandler]:
        recordings = active_recordings()
        if isinstance(request, Request):
            self.core.remember_namespace(request.namespace)
            if request.note is not None:
                self.advice.once("prompt", request.note)
            flow = answer(self.plan, request, reuse=reuse, recorded=bool(recordings))
        else:
            flow = bypass(request)

        def observe(event: Event, elapsed: float) -> None:
            self.core.recorder.record(event, elapsed)
            if not isinstance(event, Hit):
                self.advice.on(event, lambda: self.keyer.described(request) if isinstance(request, Request) else {})
            if recordings and isinstance(event, Compared):
                for recording in recordings:
                    recording.enqueue(event)

        def is_as_read() -> bool:
            if not isinstance(request, Request):
                return True
            try:
                return request.asks_the_same(self._read(invocation)[0])
            except Exception:  # noqa: BLE001  # what can no longer be read is no longer the same
                return False

        return flow, EffectHandler(self.core, observe, asynchronous=asynchronous, is_as_read=is_as_read)

    def _explaining(self, invocation: Invocation) -> Flow[Explanation]:
        request, _ = self._read(invocation)
        match request:
            case Request():
                return self._with_differences(explain(self.plan, request), request)
            case Bypass(reason, detail):
                return _settled(Explanation("bypass", reason, detail=detail))
            case Failure(stage, error):
                return _settled(Explanation("bypass", stage, detail=repr(error)))

    def _with_differences(self, explaining: Flow[Explanation], request: Request) -> Flow[Explanation]:
        explanation = yield from explaining
        if explanation.outcome == "hit":
            return explanation
        return replace(explanation, differs=self.advice.differences(self.keyer.described(request)))

    def _forgetting(self, invocation: Invocation) -> Flow[int]:
        request, _ = self._read(invocation)
        return forget(self.plan, request) if isinstance(request, Request) else _settled(0)


def _settled(result: T) -> Flow[T]:
    return result
    yield  # makes this a flow, of no effects


def _unobserved(_event: Event, _elapsed: float) -> None:
    return
