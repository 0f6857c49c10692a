"""One call through the cache, as a generator of effects: no I/O, no clock, no await.

A driver performs each effect and sends back its result, or throws the exception that the effect raised. Every operation
that may fail is an effect of these flows, so failing open is written once.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING

from recallm.engine.auditing import compare, is_audited
from recallm.engine.decision import is_fresh
from recallm.engine.effects import Call, Called, Emit, Raise, ReadAgain, Revalidate, Rewrite
from recallm.engine.lookup import find_model, look_up
from recallm.engine.plan import Flow, Plan
from recallm.engine.serving import first_servable, is_answered, still_stored
from recallm.engine.storing import remember
from recallm.errors import CircuitOpenError
from recallm.keying.responses import is_stream
from recallm.records import Bypass, Compared, Failure, Hit, Miss, Nearest, Revalidating, ServedStale

if TYPE_CHECKING:
    from recallm.keying.keyer import Request
    from recallm.typing import Serve

RECORDED_FLOOR = 0.7
"""The cosine from which on a recorded look-up reports its nearest candidate even if it does not serve it."""


def answer(
    plan: Plan, request: Request, *, reuse: bool = True, recorded: bool = False, serve: Serve = "all"
) -> Flow[object]:
    """Answer one call from the cache, or call the function and store its answer.

    Args:
        plan: how the function is cached.
        request: what the call asks for.
        reuse: False calls the function whatever is stored, and overwrites it.
        recorded: whether a recording is under way (see `recallm.record`).
        serve: what may be served.
    """
    floor = RECORDED_FLOOR if recorded else None
    if request.rewriting is not None:
        request = yield from rewritten(request)
    coalesce = plan.coalesce and reuse
    sought = yield from look_up(plan, request, reuse=reuse, coalesce=coalesce, floor=floor, serve=serve)
    if recorded:
        yield from _emit_compared(request.prompt, sought)
    if isinstance(sought, Hit):
        yield Emit(sought)
        if sought.expired:
            yield from _revalidate_later(plan, request)
        return sought.response
    if isinstance(sought, Bypass):
        return (yield from bypass(sought))
    called: Called | Exception = yield Call(otherwise=sought, allow_stale=sought.stale is not None)
    if isinstance(called, Exception):
        return (yield from _serve_stale(plan, sought, called))
    if not called.as_read:
        # The function answered another question than the one under whose key the answer would be stored.
        sought = replace(sought, reason="changed", storable=False)
    if is_stream(called.response):
        yield Emit(_unkept(called.response))
        return called.response
    yield Emit(sought)
    own = (yield from remember(plan, request, sought, called)) if sought.storable else None
    if sought.shadowed is not None and (yield from is_audited(plan, sought)):
        yield from compare(plan, sought, called, own)
    return called.response


def _revalidate_later(plan: Plan, request: Request) -> Flow[None]:
    """Have an expired answer, which is served meanwhile, replaced by a new one."""
    yield Emit(Revalidating())
    try:
        model = yield from find_model(plan)
        yield Revalidate(request, request.query(model.model_id).key)
    except Exception as error:  # noqa: BLE001  # the call has its answer
        yield Emit(Failure("revalidate", error))


def revalidate(plan: Plan, request: Request) -> Flow[None]:
    """Replace the expired answer of a call by a new one, unless another process has done so or the arguments changed.

    The call has been answered and counted: what goes on here is none.
    """
    sought = yield from look_up(replace(plan, revalidate_seconds=None), request, serve="exact")
    if not isinstance(sought, Miss) or not (yield ReadAgain()):
        return
    called: Called = yield Call()
    # The caller goes on meanwhile, and may change what it passed while the function reads it.
    if not called.as_read or is_stream(called.response) or not (yield ReadAgain()):
        return
    # What took the expired answer's place meanwhile, as by `refresh`, is younger than this one.
    if not (yield from is_answered(sought.query)):
        yield from remember(plan, request, sought, called)


def _unkept(response: object) -> Bypass:
    """Return why a response that is consumed by reading it is not kept."""
    if isinstance(response, Awaitable):
        return Bypass("awaitable", type(response).__qualname__, "pass mode='async' if it is to be awaited")
    return Bypass("stream", type(response).__qualname__, "return the whole answer")


def bypass(reason: Bypass | Failure) -> Flow[object]:
    """Call the function without the cache."""
    yield Emit(reason)
    if isinstance(reason, Failure):
        yield Emit(Bypass(reason.stage))
    called: Called = yield Call()
    return called.response


def rewritten(request: Request) -> Flow[Request]:
    """Return what a call asks for once its last turn stands alone, if it is to and can; else the history must be equal.

    Whatever runs a request of a call through a look-up asks this first.
    """
    question: str | None = None
    try:
        question = yield from question_of(request)
    except Exception as error:  # noqa: BLE001  # the call goes on with what is known
        if not isinstance(error, CircuitOpenError):
            yield Emit(Failure("rewrite", error))
    return request.rewritten(question)


def question_of(request: Request) -> Flow[str | None]:
    """Return the question that a call's last turn is rewritten into, if it is to and can.

    Raises:
        Exception: whatever `rewrite` raises, or what kept it from being asked.
    """
    if request.rewriting is None:
        return None
    question: str | None = yield Rewrite(request.rewriting.rewriter, request.rewriting.messages, request.rewriting.key)
    return question


def _emit_compared(prompt: str, sought: Hit | Miss | Bypass) -> Flow[None]:
    """Report what a prompt was compared with: the candidate served, else the nearest one that was fresh."""
    match sought:
        case Hit(candidate, exact=False):
            yield Emit(Compared(prompt, candidate.entry.prompt, candidate.similarity, "hit"))
        case Miss(nearest=Nearest(candidate, refused_by)) if is_fresh(candidate):
            yield Emit(Compared(prompt, candidate.entry.prompt, candidate.similarity, "miss", refused_by))


def _serve_stale(plan: Plan, miss: Miss, error: Exception) -> Flow[object]:
    """Return the expired answer, or raise the function's `error` if it may not be served by now."""
    yield Emit(miss)
    stale = yield from still_stored(plan, miss)
    hit = None
    if stale is not None:
        exact = stale.entry.key == miss.query.key
        hit = (yield from first_servable(plan, miss.query, [stale], exact=exact)).hit
    if hit is None:
        yield Raise(error)
        raise AssertionError("the driver has raised the error")
    yield Emit(ServedStale())
    return hit.response
