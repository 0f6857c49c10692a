"""Traces and metrics by OpenTelemetry, read back through its own SDK."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.background import audits_settled
from support.faulty import Obstinate, Returning

from recallm import InMemoryStorage, RecallmWarning, semantic_cache
from recallm.opentelemetry import instrument
from recallm.telemetry.listening import LISTENERS
from recallm.telemetry.tracing import TRACERS, trace_lookups
from recallm.testing import Clock, FakeEmbedder


class Telemetry:
    """Providers of the SDK that keep everything in memory."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        self.tracer = self.tracers.get_tracer("the application")

    def spans(self) -> Sequence[ReadableSpan]:
        """Return the spans that have ended, in the order in which they began."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def lookups(self) -> Sequence[ReadableSpan]:
        """Return the spans of look-ups."""
        return [span for span in self.spans() if span.name == "recallm.lookup"]

    def metrics(self) -> dict[str, dict[tuple[tuple[str, Any], ...], Any]]:
        """Return by name and attributes the value of each counter, and each histogram's count."""
        data = self.reader.get_metrics_data()
        found: dict[str, dict[tuple[tuple[str, Any], ...], Any]] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            assert isinstance(metric.data, Sum | Histogram)
            for point in metric.data.data_points:
                value = getattr(point, "value", None)
                by = tuple(sorted((point.attributes or {}).items()))
                found.setdefault(metric.name, {})[by] = getattr(point, "count", None) if value is None else value
        return found


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Everything is instrumented, without prompts."""
    made = Telemetry()
    end = instrument(made.tracers, made.meters)
    yield made
    end()
    assert not TRACERS
    assert not LISTENERS


def cached(function: Callable[..., Any], **options: Any) -> Any:
    """Return a function whose prompts are similar if their words are the same."""
    known = {"context": {}, "guards": (), "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "name": "one"}
    return semantic_cache(**{**known, "namespace": "n", "version": "1", **options})(function)


def shout(prompt: str) -> str:
    """Answer in capitals."""
    return prompt.upper()


def parent(span: ReadableSpan) -> int | None:
    """Return the id of a span's parent."""
    return None if span.parent is None else span.parent.span_id


def identity(span: ReadableSpan) -> int:
    """Return a span's id."""
    context = span.get_span_context()
    assert context is not None
    found: int = context.span_id
    return found


def test_a_look_up_is_a_span_with_its_outcome(telemetry: Telemetry) -> None:
    """A miss, an exact hit and a similar one are spans with outcome, reason, similarity, age and threshold."""
    clock = Clock()
    ask = cached(shout, storage=InMemoryStorage(clock=clock), threshold=0.9)
    for prompt in ("one two", "one two", "two one"):
        ask(prompt)
        clock.advance(5)
    common = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "n",
        "recallm.cache": "one",
        "recallm.embedder": FakeEmbedder.model_id,
        "recallm.threshold": 0.9,
    }
    told = [dict(span.attributes or {}) for span in telemetry.lookups()]
    assert told == [
        {**common, "recallm.outcome": "miss", "recallm.reason": "unlike"},
        {**common, "recallm.outcome": "hit", "recallm.reason": "exact", "recallm.similarity": 1.0, "recallm.age": 5.0},
        {
            **common,
            "recallm.outcome": "hit",
            "recallm.reason": "similar",
            "recallm.similarity": pytest.approx(1.0),
            "recallm.age": 10.0,
        },
    ]
    assert all(span.status.is_unset for span in telemetry.lookups())


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_look_up_is_the_sibling_of_the_functions_own_span(telemetry: Telemetry, asynchronous: bool) -> None:
    """The look-up is a child of the current span and has ended when the function begins a span of its own beside it."""

    def answer(prompt: str) -> str:
        with telemetry.tracer.start_as_current_span("chat a-model"):
            return prompt

    async def later(prompt: str) -> str:
        with telemetry.tracer.start_as_current_span("chat a-model"):
            await asyncio.sleep(0)
            return prompt

    ask = cached(later if asynchronous else answer)
    with telemetry.tracer.start_as_current_span("request") as request:
        answered = ask("one two")
        assert (asyncio.run(answered) if asynchronous else answered) == "one two"
        assert trace.get_current_span() is request, "the context is what it was"
    first, lookup, chat = telemetry.spans()
    assert [first.name, lookup.name, chat.name] == ["request", "recallm.lookup", "chat a-model"]
    assert parent(lookup) == parent(chat) == identity(first)
    assert (lookup.end_time or 0) <= (chat.start_time or 0)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_the_look_up_does_is_inside_its_span(telemetry: Telemetry, asynchronous: bool) -> None:
    """Spans of an embedder and of a storage client are inside the look-up's, though threads do their work."""

    class Instrumented(FakeEmbedder):
        def embed(self, text: str, /) -> Any:
            with telemetry.tracer.start_as_current_span("embeddings"):
                return super().embed(text)

    def recall(own: Callable[..., Any], *arguments: Any) -> Any:
        with telemetry.tracer.start_as_current_span("GET"):
            return own(*arguments)

    async def later(prompt: str) -> str:
        return prompt

    ask = cached(later if asynchronous else shout, embedder=Instrumented(), storage=Obstinate(recall=recall))
    answered = ask("one two")
    if asynchronous:
        asyncio.run(answered)
    lookup = telemetry.lookups()[0]
    inside = [span for span in telemetry.spans() if span.name in ("GET", "embeddings")]
    assert {span.name for span in inside} == {"GET", "embeddings"}
    assert {parent(span) for span in inside} == {identity(lookup)}


def test_calls_at_the_same_time_have_spans_of_their_own(telemetry: Telemetry) -> None:
    """Look-ups of tasks that run by turns are children of their own requests."""

    async def later(prompt: str) -> str:
        await asyncio.sleep(0)
        return prompt

    ask = cached(later)

    async def request(number: int) -> None:
        with telemetry.tracer.start_as_current_span(f"request {number}"):
            await ask(f"prompt of number {number}")

    async def all_at_once() -> None:
        await asyncio.gather(*map(request, range(20)))

    asyncio.run(all_at_once())
    requests = {identity(span) for span in telemetry.spans() if span.name.startswith("request")}
    assert {parent(span) for span in telemetry.lookups()} == requests
    assert len(requests) == 20


def test_trouble_is_an_event_and_the_status_of_the_span(telemetry: Telemetry) -> None:
    """If the cache fails, its span says which stage and type of exception, and nothing of the exception's text."""
    ask = cached(shout, embedder=Returning(ConnectionError("one two")))
    assert ask("one two") == "ONE TWO"
    (span,) = telemetry.lookups()
    assert dict(span.attributes or {})["error.type"] == "ConnectionError"
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "embedding failed")
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [
        ("exception", {"exception.type": "ConnectionError", "recallm.stage": "embedding"})
    ]


def test_an_exception_of_the_function_is_not_the_look_ups(telemetry: Telemetry) -> None:
    """What the function raises belongs to the span around the call, and not to the look-up that missed."""

    def refuse(prompt: str) -> str:
        raise LookupError(prompt)

    ask = cached(refuse)
    with pytest.raises(LookupError), telemetry.tracer.start_as_current_span("request"):
        ask("one two")
    request, lookup = telemetry.spans()
    assert request.status.status_code is trace.StatusCode.ERROR
    assert lookup.status.is_unset
    assert dict(lookup.attributes or {})["recallm.outcome"] == "miss"


def test_a_call_that_is_cancelled_ends_its_span(telemetry: Telemetry) -> None:
    """The span of a look-up that is cancelled ends, and the context is what it was."""
    started, hold = threading.Event(), threading.Event()

    class Slow(FakeEmbedder):
        def embed(self, text: str, /) -> Any:
            started.set()
            hold.wait(20)
            return super().embed(text)

    async def later(prompt: str) -> str:
        return prompt

    async def cancel() -> None:
        ask = cached(later, embedder=Slow())
        task = asyncio.create_task(ask("one two"))
        await asyncio.to_thread(started.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    hold.set()
    (span,) = telemetry.lookups()
    told = dict(span.attributes or {})
    assert (told["recallm.outcome"], told["recallm.reason"]) == ("bypass", "cancelled")


def test_a_bypass_and_a_veto_are_told(telemetry: Telemetry) -> None:
    """A call that cannot be cached is a span with the reason, and a candidate's refusal is an event."""

    def never(prompt: str, cached_prompt: str) -> bool:
        return False

    ask = cached(shout, guards=(never,))
    ask("one two")
    ask("two one")
    ask("one two", cache_context={"user": object()})
    *_, vetoed, bypass = telemetry.lookups()
    assert [(event.name, dict(event.attributes or {})) for event in vetoed.events] == [
        ("recallm.veto", {"recallm.guard": "never"})
    ]
    told = dict(vetoed.attributes or {})
    assert (told["recallm.outcome"], told["recallm.reason"], told["recallm.vetoed_by"]) == ("miss", "vetoed", "never")
    assert dict(bypass.attributes or {})["recallm.outcome"] == "bypass"
    assert bypass.status.is_unset, "a call that cannot be cached is no error"


def test_no_prompt_is_told_unless_asked_for() -> None:
    """Spans and metrics hold neither prompts nor answers nor texts of exceptions, unless `prompts=True`."""
    for prompts in (False, True):
        telemetry = Telemetry()
        end = instrument(telemetry.tracers, telemetry.meters, prompts=prompts)
        ask = cached(shout)
        ask("secret one")
        ask("one secret")
        cached(shout, embedder=Returning(ConnectionError("secret text")))("secret three")
        end()
        everything = json.dumps([json.loads(span.to_json()) for span in telemetry.spans()]) + str(telemetry.metrics())
        assert ("secret" in everything) is prompts
        if prompts:
            _, hit, failed = [dict(span.attributes or {}) for span in telemetry.lookups()]
            assert hit["gen_ai.retrieval.query.text"] == "one secret"
            assert hit["recallm.cached_prompt"] == "secret one"
            assert failed["gen_ai.retrieval.query.text"] == "secret three"
            assert "secret text" in everything
        assert "SECRET" not in everything


def test_what_may_be_private_is_told_to_nobody() -> None:
    """If `skip_if` raises, the call may be private: not even `prompts=True` has the exception's text in its span."""
    telemetry = Telemetry()
    end = instrument(telemetry.tracers, telemetry.meters, prompts=True)

    def skip(kw: Mapping[str, Any]) -> bool:
        raise ValueError(f"not understood: {kw['prompt']}")

    with pytest.warns(RecallmWarning, match="skip_if= of"):
        assert cached(shout, skip_if=skip)("secret one") == "SECRET ONE"
    end()
    (span,) = telemetry.spans()
    assert span.events[0].attributes == {"exception.type": "ValueError", "recallm.stage": "skip_if"}
    assert "secret" not in span.to_json()


def test_calls_are_measured(telemetry: Telemetry) -> None:
    """Counters and histograms agree with the statistics."""
    ask = cached(shout)
    for prompt in ("one two", "one two", "two one", "three"):
        ask(prompt)
    cached(shout, embedder=Returning(ConnectionError()), name="broken")("one two")
    stats, found = ask.stats(), telemetry.metrics()
    one = ("recallm.cache", "one")
    assert found["recallm.calls"] == {
        (one, ("recallm.outcome", "miss"), ("recallm.reason", "unlike")): stats.misses,
        (one, ("recallm.outcome", "hit"), ("recallm.reason", "exact")): stats.exact_hits,
        (one, ("recallm.outcome", "hit"), ("recallm.reason", "similar")): stats.semantic_hits,
        (("recallm.cache", "broken"), ("recallm.outcome", "bypass"), ("recallm.reason", "embedding")): 1,
    }
    assert found["recallm.errors"] == {
        (("error.type", "ConnectionError"), ("recallm.cache", "broken"), ("recallm.stage", "embedding")): 1
    }
    assert found["recallm.stored"] == {(one,): stats.stored}
    assert found["recallm.saved.duration"][(one,)] == pytest.approx(stats.saved_seconds)
    assert found["recallm.lookup.duration"] == {(one,): stats.hits}
    assert found["recallm.similarity"] == {(one,): stats.semantic_hits}
    assert found["recallm.embedding.duration"][(one,)] == 3


def test_audits_and_reports_are_measured(telemetry: Telemetry) -> None:
    """Audited hits are counted by whether they were right, and answers that were reported wrong are counted."""
    ask = cached(shout, audit=1.0, same=lambda prompt, cached_response, response: cached_response == response)
    ask("one two")
    ask("two one")
    ask.wrong("one two")
    audits_settled()
    found = telemetry.metrics()
    one = ("recallm.cache", "one")
    assert found["recallm.audited"] == {(one, ("recallm.same", False)): 1}
    assert found["recallm.reported_wrong"] == {(one,): 1}


def test_a_second_instrumentation_replaces_the_first() -> None:
    """Instrumenting twice, as an autoreload may, gives one span a call; ending it ends it."""
    first, second = Telemetry(), Telemetry()
    ends = [instrument(each.tracers, each.meters) for each in (first, second)]
    ask = cached(shout)
    ask("one two")
    ends[0]()
    ask("one two")
    ends[1]()
    ends[1]()
    ask("one two")
    assert (len(first.lookups()), len(second.lookups())) == (0, 2)


def test_a_tracer_that_fails_harms_no_call() -> None:
    """What a tracer raises at the beginning, in the middle or at the end is counted, and the calls go on."""

    class Broken:
        def __init__(self, *failing: str) -> None:
            self.failing = failing

        def __getattr__(self, name: str) -> Callable[..., None]:
            def step(*_: object) -> None:
                if name in self.failing:
                    raise RuntimeError(name)

            return step

    def begin(cache: str, prompt: str | None) -> Any:
        raise RuntimeError

    ask = cached(shout)
    removals = [
        trace_lookups(begin),
        trace_lookups(lambda cache, prompt: Broken("on_model", "end")),
        trace_lookups(lambda cache, prompt: Broken("on_event")),
    ]
    try:
        assert [ask("one two"), ask("one two"), ask("two one")] == ["ONE TWO"] * 3
    finally:
        for remove in removals:
            remove()
    stats = ask.stats()
    assert (stats.hits, stats.misses) == (2, 1)
    assert stats.errors["listener"] >= 9


def test_a_request_to_a_service_is_one_trace(telemetry: Telemetry) -> None:
    """A FastAPI request is one trace: the server's span, the look-up, and beside it the model's, if it is asked."""

    async def model(question: str) -> str:
        with telemetry.tracer.start_as_current_span("chat a-model", kind=trace.SpanKind.CLIENT):
            await asyncio.sleep(0)
            return question.upper()

    async def answer(question: str) -> str:
        return await model(question)

    ask = cached(answer)
    app = FastAPI()

    @app.middleware("http")
    async def server_span(request: Any, call_next: Any) -> Any:
        with telemetry.tracer.start_as_current_span(f"GET {request.url.path}", kind=trace.SpanKind.SERVER):
            return await call_next(request)

    @app.get("/ask")
    async def endpoint(question: str) -> dict[str, str]:
        return {"answer": await ask(question)}

    async def requests() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            for question in ("one two", "two one"):
                reply = await client.get("/ask", params={"question": question})
                assert reply.json() == {"answer": "ONE TWO"}

    asyncio.run(requests())
    names = [(span.name, identity(span), parent(span)) for span in telemetry.spans()]
    (_, first, _), (_, second, _) = [each for each in names if each[0] == "GET /ask"]
    assert [(name, above) for name, _, above in names] == [
        ("GET /ask", None),
        ("recallm.lookup", first),
        ("chat a-model", first),
        ("GET /ask", None),
        ("recallm.lookup", second),
    ]


def test_without_the_extra_it_says_what_to_install() -> None:
    """Without opentelemetry-api, instrumenting is an ImportError that names the extra; importing the module is not."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from recallm.opentelemetry import instrument\n"
        "try:\n    instrument()\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert 'pip install "recallm[otel]"' in done.stdout, done.stderr
