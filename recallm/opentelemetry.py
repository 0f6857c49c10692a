"""Traces and metrics by OpenTelemetry: `recallm.opentelemetry.instrument`. The extra ``otel`` brings what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from recallm.errors import MissingExtraError
from recallm.records import (
    Audited,
    Bypass,
    Coalesced,
    Embedded,
    Event,
    Failure,
    Hit,
    Miss,
    Reported,
    ServedStale,
    Stored,
    Veto,
)
from recallm.telemetry.labels import encodable
from recallm.telemetry.listening import on_event
from recallm.telemetry.stats import LOOKUP_BUCKETS, SIMILARITY_BUCKETS
from recallm.telemetry.tracing import trace_lookups

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["instrument"]

_installed: dict[str, Callable[[], None]] = {}
"""What ends the present instrumentation, if there is one."""


def instrument(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    prompts: bool = False,
) -> Callable[[], None]:
    """Have every look-up of this process traced, and every call measured. A second time replaces the first.

    Each call of a cached function gets a span ``recallm.lookup``, a child of the current one. It ends before the
    function is called, so the spans of an instrumented LLM client stand beside it, and those of an instrumented Redis
    client inside it. What kept the cache from working is an event of the span, and its status. The function's own
    exceptions are not: they belong to the spans around it.

    Attributes are those of OpenTelemetry's conventions for generative AI if there is one (``gen_ai.operation.name``,
    "retrieval"; ``gen_ai.data_source.id``, the namespace), else ``recallm.cache``, ``recallm.outcome``,
    ``recallm.reason``, ``recallm.similarity``, ``recallm.threshold``, ``recallm.age``, ``recallm.embedder``.

    Metrics: the counters ``recallm.calls``, ``recallm.errors``, ``recallm.vetoes``, ``recallm.stored``,
    ``recallm.evicted``, ``recallm.audited``, ``recallm.reported_wrong``, ``recallm.stale``, ``recallm.saved.duration``,
    ``recallm.saved.tokens`` and ``recallm.saved.cost``; the histograms ``recallm.lookup.duration``,
    ``recallm.embedding.duration`` and ``recallm.similarity``.

    Args:
        tracer_provider: takes the spans; None: the global one.
        meter_provider: takes the metrics; None: the global one.
        prompts: whether spans carry the prompts, the call's as ``gen_ai.retrieval.query.text`` and the stored one's as
            ``recallm.cached_prompt``, and the texts of exceptions, which may hold prompts too.

    Returns:
        What ends it; a second time it does nothing.

    Raises:
        MissingExtraError: opentelemetry-api is not installed.
    """
    try:
        from opentelemetry import metrics, trace
    except ImportError:
        raise MissingExtraError(
            'recallm.opentelemetry.instrument() needs opentelemetry-api; pip install "recallm[otel]"'
        ) from None
    from recallm import __version__

    tracer = trace.get_tracer("recallm", __version__, tracer_provider)
    meter = metrics.get_meter("recallm", __version__, meter_provider)
    measure = _Measures(meter)
    removals = (
        trace_lookups(lambda cache, prompt: _Span(tracer, cache, prompt if prompts else None, tells_texts=prompts)),
        on_event(measure),
    )

    def end() -> None:
        for remove in removals:
            remove()

    earlier = _installed.pop("instrumentation", None)
    if earlier is not None:
        earlier()
    _installed["instrumentation"] = end
    return end


class _Span:
    """The span of one look-up, which is the current one until it ends."""

    def __init__(self, tracer: Any, cache: str, prompt: str | None, *, tells_texts: bool) -> None:
        from opentelemetry import context, trace

        self._api: tuple[Any, Any] = context, trace
        self._tells_texts = tells_texts
        self._failed_with: str | None = None
        attributes = {"gen_ai.operation.name": "retrieval", "recallm.cache": encodable(cache)}
        if prompt is not None:
            attributes["gen_ai.retrieval.query.text"] = encodable(prompt)
        self._span = tracer.start_span("recallm.lookup", attributes=attributes)
        self._inside = trace.set_span_in_context(self._span)
        self._token = context.attach(self._inside)

    def on_model(self, model_id: str, threshold: float) -> None:
        """Tell the model and the threshold."""
        self._span.set_attributes({"recallm.embedder": encodable(model_id), "recallm.threshold": threshold})

    def on_event(self, event: Event) -> None:
        """Add an event to the span."""
        match event:
            case Failure(stage, error):
                self._failed_with = type(error).__qualname__
                told = {"exception.type": self._failed_with, "recallm.stage": stage}
                if self._tells_texts and stage != "skip_if":  # the call may be private, which could not be told
                    told["exception.message"] = encodable(str(error))
                self._span.add_event("exception", told)
            case Veto(guard):
                self._span.add_event("recallm.veto", {"recallm.guard": encodable(guard)})
            case Coalesced():
                self._span.add_event("recallm.coalesced")

    def end(self, outcome: Hit | Miss | Bypass | None) -> None:
        """Tell the outcome, and leave the current span to what it was."""
        context, trace = self._api
        if context.get_current() is self._inside:  # else this is another thread's or task's, which drops the call
            context.detach(self._token)
        try:
            self._span.set_attributes(_outcome(outcome, tells_texts=self._tells_texts))
            if isinstance(outcome, Bypass) and self._failed_with is not None:
                self._span.set_attribute("error.type", self._failed_with)
                self._span.set_status(trace.StatusCode.ERROR, f"{outcome.reason} failed")
        finally:
            self._span.end()


def _outcome(outcome: Hit | Miss | Bypass | None, *, tells_texts: bool) -> Mapping[str, str | float]:
    match outcome:
        case Hit(candidate, exact):
            found = {"recallm.outcome": "hit", "recallm.reason": "exact" if exact else "similar"}
            return {**found, **_candidate(candidate, tells_texts=tells_texts)}
        case Miss(reason, query, best=best):
            missed: dict[str, str | float] = {"recallm.outcome": "miss", "recallm.reason": reason}
            if best is None:
                return {**missed, "gen_ai.data_source.id": encodable(query.namespace)}
            if best.refused_by is not None:
                missed["recallm.vetoed_by"] = encodable(best.refused_by)
            return {**missed, **_candidate(best.candidate, tells_texts=tells_texts)}
        case Bypass(reason):
            return {"recallm.outcome": "bypass", "recallm.reason": reason}
    return {"recallm.outcome": "bypass", "recallm.reason": "cancelled"}


def _candidate(candidate: Any, *, tells_texts: bool) -> Mapping[str, str | float]:
    told: dict[str, str | float] = {
        "gen_ai.data_source.id": encodable(candidate.entry.namespace),
        "recallm.similarity": float(candidate.similarity),
        "recallm.age": float(candidate.age),
    }
    if tells_texts:
        told["recallm.cached_prompt"] = encodable(candidate.entry.prompt)
    return told


class _Measures:
    """A listener that keeps the metrics."""

    def __init__(self, meter: Any) -> None:
        count, draw = meter.create_counter, meter.create_histogram
        lookups, similarities = [*LOOKUP_BUCKETS], [*SIMILARITY_BUCKETS]
        self._calls = count("recallm.calls", "{call}", "Calls of cached functions, by outcome and reason.")
        self._errors = count("recallm.errors", "{error}", "Troubles kept from callers.")
        self._vetoes = count("recallm.vetoes", "{candidate}", "Candidates that a guard refused.")
        self._stored = count("recallm.stored", "{entry}", "Answers stored.")
        self._evicted = count("recallm.evicted", "{entry}", "Entries that made room for others.")
        self._audited = count("recallm.audited", "{answer}", "Similar hits compared with the function's own answer.")
        self._reported = count("recallm.reported_wrong", "{answer}", "Answers that users reported to be wrong.")
        self._stale = count("recallm.stale", "{call}", "Calls answered with an expired entry as the function raised.")
        self._saved_seconds = count("recallm.saved.duration", "s", "Time the function took for the served entries.")
        self._saved_tokens = count("recallm.saved.tokens", "{token}", "Tokens it reported for the served entries.")
        self._saved_cost = count("recallm.saved.cost", "1", "What the served entries had cost, as price= told.")
        self._lookup_seconds = draw(
            "recallm.lookup.duration", "s", "Time to find a hit.", explicit_bucket_boundaries_advisory=lookups
        )
        self._embedding_seconds = draw(
            "recallm.embedding.duration", "s", "Time to embed.", explicit_bucket_boundaries_advisory=lookups
        )
        self._similarity = draw(
            "recallm.similarity", "1", "Cosine of semantic hits.", explicit_bucket_boundaries_advisory=similarities
        )

    def __call__(self, event: Event, cache: str, elapsed: float) -> None:
        """Count one event."""
        name = {"recallm.cache": encodable(cache)}
        match event:
            case Hit():
                self._hit(event, name, elapsed)
            case Miss(reason) | Bypass(reason):
                outcome = "miss" if isinstance(event, Miss) else "bypass"
                self._calls.add(1, {**name, "recallm.outcome": outcome, "recallm.reason": reason})
            case Failure(stage, error):
                self._errors.add(1, {**name, "recallm.stage": stage, "error.type": type(error).__qualname__})
            case Veto(guard):
                self._vetoes.add(1, {**name, "recallm.guard": encodable(guard)})
            case Stored(kept, evicted):
                self._stored.add(int(kept), name)
                self._evicted.add(evicted, name)
            case Embedded(seconds):
                self._embedding_seconds.record(seconds, name)
            case ServedStale() | Reported():
                (self._stale if isinstance(event, ServedStale) else self._reported).add(1, name)
            case Audited(_, same):
                self._audited.add(1, {**name, "recallm.same": same})

    def _hit(self, hit: Hit, name: Mapping[str, str], elapsed: float) -> None:
        entry, reason = hit.candidate.entry, "exact" if hit.exact else "similar"
        self._calls.add(1, {**name, "recallm.outcome": "hit", "recallm.reason": reason})
        self._saved_seconds.add(entry.seconds, name)
        self._saved_tokens.add(entry.tokens, name)
        self._saved_cost.add(entry.cost, name)
        self._lookup_seconds.record(elapsed, name)
        if not hit.exact:
            self._similarity.record(hit.candidate.similarity, name)
