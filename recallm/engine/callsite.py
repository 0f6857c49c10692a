"""One cached function: turns each of its calls into a request, starts the flow and drives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from recallm.concurrency.event_loops import running_loop_kind
from recallm.concurrency.signals import let_through
from recallm.engine.asking import awaited
from recallm.engine.background import revalidate_in_task, revalidate_in_thread
from recallm.engine.core import STOPPED, Core
from recallm.engine.drivers import EffectHandler, amaintain, arun, maintain, run
from recallm.engine.flow import answer, bypass, revalidate
from recallm.engine.maintenance import explain, forget, report_wrong
from recallm.engine.plan import Flow, Plan
from recallm.engine.switches import allowed, is_active
from recallm.engine.traced import traced
from recallm.errors import RecallmError
from recallm.keying.apart import apart_from
from recallm.keying.keyer import Keyer, Request
from recallm.keying.signature import CallKind
from recallm.records import OUTCOMES, Bypass, Compared, Event, Explanation, Failure, Hit, Reported
from recallm.telemetry.advice import Advice
from recallm.telemetry.observing import noticed
from recallm.telemetry.recording import active_recordings
from recallm.telemetry.tracing import TRACERS

if TYPE_CHECKING:
    from recallm.concurrency.backlog import Claim
    from recallm.typing import Serve

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
        request, own = self._begun(invocation)
        flow, handler = self._start(invocation, request, reuse=reuse, asynchronous=False)
        return run(flow, handler, lambda: invocation.function(*invocation.args, **own))

    async def acall(self, invocation: Invocation, *, reuse: bool = True) -> Any:
        """Answer a call of an async function."""
        request, own = self._begun(invocation)
        if running_loop_kind() is None:
            request = Bypass("event_loop", None, "await it under asyncio or trio")
        flow, handler = self._start(invocation, request, reuse=reuse, asynchronous=True)
        return await arun(flow, handler, lambda: awaited(invocation.function(*invocation.args, **own)))

    def straight(self, invocation: Invocation) -> Any:
        """Call the function without the cache, which is switched off."""
        return invocation.function(*invocation.args, **self.keyer.own(invocation.kwargs))

    def pass_through(self, invocation: Invocation) -> Any:
        """Call a generator function, which is never cached."""
        own = self.keyer.own(invocation.kwargs)
        bypass_reason = Bypass("generator", None, "return the whole answer instead of generating it")
        self._count(bypass_reason)
        self.advice.on(bypass_reason, dict)
        return invocation.function(*invocation.args, **own)

    def explain(self, invocation: Invocation) -> Explanation:
        """Explain what a call would get."""
        return maintain(self._explaining(invocation), self.core, _unobserved)

    async def aexplain(self, invocation: Invocation) -> Explanation:
        """Explain what a call would get."""
        return await amaintain(self._explaining(invocation), self.core, _unobserved)

    def differences(self, invocation: Invocation, other: Invocation) -> tuple[str, ...]:
        """Return the names of what keeps two calls apart besides their prompts; nothing if one cannot be cached."""
        requests = [self._read(each)[0] for each in (invocation, other)]
        one, two = (self.keyer.described(each) if isinstance(each, Request) else {} for each in requests)
        return tuple(name for name in {**one, **two} if one and two and one.get(name) != two.get(name))

    def invalidate(self, invocation: Invocation) -> int:
        """Remove the entries that a call would hit, and return how many there were."""
        return maintain(self._forgetting(invocation), self.core, _unobserved)

    async def ainvalidate(self, invocation: Invocation) -> int:
        """Remove the entries that a call would hit, and return how many there were."""
        return await amaintain(self._forgetting(invocation), self.core, _unobserved)

    def wrong(self, invocation: Invocation) -> bool:
        """Have what a call would get not be served for it any more, and return whether there was something."""
        return maintain(self._reporting(invocation), self.core, self._observer_of_reports())

    async def awrong(self, invocation: Invocation) -> bool:
        """Have what a call would get not be served for it any more, and return whether there was something."""
        return await amaintain(self._reporting(invocation), self.core, self._observer_of_reports())

    def _begun(self, invocation: Invocation) -> tuple[Request | Bypass | Failure, dict[str, Any]]:
        """Read a call, and count it if it is interrupted."""
        try:
            return self._read(invocation)
        except RecallmError:
            raise
        except BaseException:
            self._count(Bypass("cancelled"))
            raise

    def _count(self, event: Bypass) -> None:
        """Count a call that comes to no flow."""
        noticed(self.core.recorder.record, self.core.name)(event, 0.0)

    def _read(
        self, invocation: Invocation, *, to_remove: bool = False
    ) -> tuple[Request | Bypass | Failure, dict[str, Any]]:
        """Return what a call asks for, and its keyword arguments; what is to be removed may be private by now."""
        keyer = replace(self.keyer, skip_if=None) if to_remove else self.keyer
        options, own = keyer.split_options(invocation.kwargs)
        if to_remove:
            options.pop("cache_serve", None)
        if self.kind == "generator":
            return Bypass("generator"), own
        args = invocation.owner + invocation.args if invocation.owner else invocation.args
        return keyer.request(args, own, options), own

    def _still_asks(self, request: Request, invocation: Invocation) -> bool:
        """Return whether a call, read again, asks for what it asked for before."""
        try:
            again = self._read(invocation)[0]
            if isinstance(again, Failure):
                let_through(again.error)
            return request.asks_the_same(again)
        except Exception as error:  # noqa: BLE001  # what can no longer be read is no longer the same
            let_through(error)
            return False

    def _start(
        self, invocation: Invocation, request: Request | Bypass | Failure, *, reuse: bool, asynchronous: bool
    ) -> tuple[Flow[Any], EffectHandler]:
        plan, recordings, renew = self.plan, active_recordings(), None
        if isinstance(request, Request):
            if plan.revalidate_seconds is not None:
                plan = _for_loop(plan, asynchronous=asynchronous)
                renew = partial(self._revalidate, invocation, request, asynchronous=asynchronous)
            flow = self._answering(request, plan, reuse=reuse, recorded=bool(recordings))
        else:
            flow = bypass(request)
        if TRACERS:
            flow = self._traced(flow, request)
        record = noticed(self.core.recorder.record, self.core.name)

        def observe(event: Event, elapsed: float) -> None:
            record(event, elapsed)
            if isinstance(event, Hit):
                self.advice.on_hit()
            else:
                self.advice.on(event, lambda: self.keyer.described(request) if isinstance(request, Request) else {})
            if recordings and isinstance(event, Compared):
                for recording in recordings:
                    recording.enqueue(event)

        def is_as_read() -> bool:
            return not isinstance(request, Request) or self._still_asks(request, invocation)

        return flow, EffectHandler(
            self.core, observe, asynchronous=asynchronous, is_as_read=is_as_read, revalidate=renew
        )

    def _answering(self, request: Request, plan: Plan, *, reuse: bool, recorded: bool) -> Flow[Any]:
        self.core.remember_namespace(request.namespace)
        if request.note is not None:
            self.advice.once("prompt", request.note)
        serve = self._allowed(request)
        if serve == "refresh":
            reuse, serve = False, "all"
        return answer(plan, request, reuse=reuse, recorded=recorded, serve=serve)

    def _allowed(self, request: Request) -> Serve | Literal["refresh"]:
        """Return what a call may be served."""
        serve = allowed(self.plan.serve, request.serve)
        return "exact" if serve == "all" and self.core.similar_stopped else serve

    def _revalidate(
        self, invocation: Invocation, request: Request, now: Request, claim: Claim, *, asynchronous: bool
    ) -> None:
        """Have the function make a new answer in a thread, or in a task of the running event loop.

        Args:
            invocation: the call.
            request: what it asks for.
            now: the same, rewritten if it was to be.
            claim: that of `background.claimed`.
            asynchronous: whether the function is awaited.
        """
        apart = invocation._replace(args=apart_from(invocation.args), kwargs=apart_from(invocation.kwargs))
        read, own = self._read(apart)
        if isinstance(read, Request):
            now = now._replace(arguments=read.arguments)

        def observe(event: Event, elapsed: float) -> None:
            if not isinstance(event, OUTCOMES):  # the call was counted as it was answered
                self.core.recorder.record(event, elapsed)

        handler = EffectHandler(
            self.core,
            observe,
            asynchronous=asynchronous,
            is_call=False,
            is_as_read=lambda: self._still_asks(request, apart),
        )
        flow = revalidate(self.plan, now)
        function = partial(apart.function, *apart.args, **own)
        if asynchronous:
            revalidate_in_task(lambda: arun(flow, handler, lambda: awaited(function())), claim, handler.emit)
        else:
            revalidate_in_thread(lambda: run(flow, handler, function), claim, handler.emit)

    def _traced(self, flow: Flow[T], request: Request | Bypass | Failure) -> Flow[T]:
        prompt = request.prompt if isinstance(request, Request) else None
        for tracer in (*TRACERS.values(),):
            flow = traced(flow, partial(tracer, self.core.name, prompt), self.plan.threshold)
        return flow

    def _explaining(self, invocation: Invocation) -> Flow[Explanation]:
        if not is_active():
            return _settled(Explanation("bypass", "inactive"))
        request, _ = self._read(invocation)
        match request:
            case Request():
                serve = self._allowed(request)
                if serve == "refresh":
                    return _settled(Explanation("miss", "refresh", namespace=request.namespace))
                return self._with_differences(explain(self.plan, request, serve=serve), request)
            case Bypass(reason, detail):
                return _settled(Explanation("bypass", reason, detail=detail))
            case Failure(stage, error):
                return _settled(Explanation("bypass", stage, detail=repr(error)))

    def _with_differences(self, explaining: Flow[Explanation], request: Request) -> Flow[Explanation]:
        explanation = yield from explaining
        if self.core.similar_stopped and explanation.detail == 'serve="exact"':
            explanation = replace(explanation, detail=STOPPED)
        if explanation.outcome == "hit":
            return explanation
        return replace(explanation, differs=self.advice.differences(self.keyer.described(request)))

    def _forgetting(self, invocation: Invocation) -> Flow[int]:
        request, _ = self._read(invocation, to_remove=True)
        return forget(self.plan, request) if isinstance(request, Request) else _settled(0)

    def _reporting(self, invocation: Invocation) -> Flow[bool]:
        request, _ = self._read(invocation)
        if not isinstance(request, Request):
            return _settled(False)
        serve = self._allowed(request)
        return report_wrong(self.plan, request, serve="all" if serve == "refresh" else serve)

    def _observer_of_reports(self) -> Callable[[Event, float], None]:
        recordings = active_recordings()

        def observe(event: Event, elapsed: float) -> None:
            if isinstance(event, Reported):
                self.core.recorder.record(event, elapsed)
            elif isinstance(event, Compared):
                for recording in recordings:
                    recording.enqueue(event)

        return observe


def _for_loop(plan: Plan, *, asynchronous: bool) -> Plan:
    """Return a plan for calls that are made here: trio has no tasks that go on after the call that started them."""
    return replace(plan, revalidate_seconds=None) if asynchronous and running_loop_kind() == "trio" else plan


def _settled(result: T) -> Flow[T]:
    return result
    yield  # makes this a flow, of no effects


def _unobserved(_event: Event, _elapsed: float) -> None:
    return
