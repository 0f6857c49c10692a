"""Flows run to their end: each effect performed, waited for no longer than allowed, its trouble thrown back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest

from recallm import CacheConfig, InMemoryStorage, SemanticCache, registry, standalone
from recallm.codec.codec import Codec
from recallm.embedders.managed import ManagedEmbedder
from recallm.engine.asking import awaited
from recallm.engine.core import Core
from recallm.engine.decision import Decision
from recallm.engine.drivers import EffectHandler, arun, run
from recallm.engine.effects import (
    Call,
    Called,
    Decode,
    Effect,
    Embed,
    EmbedTurns,
    Emit,
    Judge,
    LoadModel,
    Rewrite,
    Verify,
)
from recallm.engine.plan import Flow
from recallm.errors import ModelUnavailableError, OddVectorError
from recallm.records import Bypass, Candidate, Embedded, Entry, Event, ModelInfo, Recalled, Stored
from recallm.storage.base import Beside, Invalidate, Put, Recall, Remove, Search, Sizes, StorageOperation
from recallm.telemetry.recorder import Recorder
from recallm.testing import FakeEmbedder

WAIT = 20.0
SHORT = 0.02
CONTEXT: ContextVar[str] = ContextVar("CONTEXT", default="unset")


class Gate:
    """Holds whoever comes through it until it is opened, and sets `entered` when somebody comes."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def hold(self) -> None:
        """Wait to be let through."""
        self.entered.set()
        self.open.wait(WAIT)


class Disk(InMemoryStorage):
    """A storage that may wait, so it is asked in a worker thread."""

    blocking = True

    def __init__(self, hold: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._hold = hold
        self.threads: set[int] = set()

    def recall(self, namespace: str, key: str) -> Recalled:
        """Record the thread, call `hold`, and look."""
        self.threads.add(threading.get_ident())
        self._hold()
        return super().recall(namespace, key)


class Remote(InMemoryStorage):
    """A storage that is awaited."""

    blocking = True
    serves_async = True

    def __init__(self) -> None:
        super().__init__()
        self.awaited: list[StorageOperation] = []

    async def aperform(self, operation: StorageOperation) -> Any:
        """Perform an operation on the event loop."""
        self.awaited.append(operation)
        await asyncio.sleep(0)
        return operation.on(self)


class Silent(Remote):
    """A storage whose server never answers those who await it."""

    def __init__(self, entered: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._entered = entered

    async def aperform(self, operation: StorageOperation) -> Any:
        """Wait forever."""
        self._entered()
        await asyncio.Event().wait()


class Held(FakeEmbedder):
    """An embedder that calls `hold` before it embeds."""

    def __init__(self, hold: Callable[[], None]) -> None:
        super().__init__()
        self._hold = hold

    def embed(self, text: str) -> Any:
        """Wait, and embed."""
        self._hold()
        return super().embed(text)


class Loading(FakeEmbedder):
    """An embedder that runs `load` before it is loaded."""

    def __init__(self, load: Callable[[], None]) -> None:
        super().__init__()
        self._load = load

    def load(self) -> None:
        """Run `load`."""
        self._load()


def limits(seconds: float) -> CacheConfig:
    """Return a configuration in which nothing may take longer."""
    return CacheConfig(
        cache_timeout_seconds=seconds,
        embed_timeout_seconds=seconds,
        load_timeout_seconds=seconds,
        verify_timeout_seconds=seconds,
    )


@dataclass
class Place:
    """What flows run on."""

    storage: Any = field(default_factory=InMemoryStorage)
    embedder: Any = field(default_factory=lambda: ManagedEmbedder(FakeEmbedder()))
    config: CacheConfig = field(default_factory=lambda: limits(WAIT))
    events: list[Event] = field(default_factory=list)

    def handler(self, *, asynchronous: bool) -> EffectHandler:
        """Return what performs a call's effects on it, and reports events here."""
        core = Core(
            "n",
            self.config,
            lambda: self.storage,
            registry.breaker_of,
            lambda: self.embedder,
            Recorder("n", metrics=lambda: None),
            existing_storage=lambda: self.storage,
            find_opening=lambda: registry.breaker_of(self.storage),
        )
        return EffectHandler(core, lambda event, _elapsed: self.events.append(event), asynchronous=asynchronous)


def asking(*effects: Effect) -> Flow[list[Any]]:
    """Ask for each effect; return the results, and what was thrown in the place of those that failed."""
    results: list[Any] = []
    for effect in effects:
        try:
            results.append((yield effect))
        except Exception as error:  # noqa: BLE001  # whatever the driver throws is what the tests look at
            results.append(error)
    return results


def answer() -> str:
    """Return the function's answer."""
    return "answer"


async def aanswer() -> str:
    """Return the function's answer, awaited."""
    return "answer"


def in_place(flow: Flow[Any], place: Place) -> Any:
    """Run a flow with the sync driver."""
    return run(flow, place.handler(asynchronous=False), answer)


def on_a_loop(flow: Flow[Any], place: Place) -> Any:
    """Run a flow with the async driver."""
    return asyncio.run(arun(flow, place.handler(asynchronous=True), aanswer))


def in_place_on_a_loop(flow: Flow[Any], place: Place) -> Any:
    """Run a flow with the sync driver, called from a coroutine."""

    async def call() -> Any:
        return run(flow, place.handler(asynchronous=False), answer)

    return asyncio.run(call())


@pytest.fixture(params=[in_place, on_a_loop, in_place_on_a_loop], ids=lambda drive: drive.__name__)
def drive(request: pytest.FixtureRequest) -> Callable[[Flow[Any], Place], Any]:
    """Each way to run a flow."""
    return request.param  # type: ignore[no-any-return]  # one of the functions above


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is opened when the test ends, so no thread stays behind."""
    made = Gate()
    yield made
    made.open.set()


def entry(prompt: str = "hello") -> Entry:
    """Return an entry that can be found."""
    return Entry("k", "n", "p", prompt, FakeEmbedder().embed(prompt), b"payload")


@pytest.mark.parametrize("storage", [InMemoryStorage, Disk, Remote])
def test_every_operation_reaches_the_storage(
    drive: Callable[[Flow[Any], Place], Any], storage: Callable[[], InMemoryStorage]
) -> None:
    """Operations give the same results in place, in a thread and awaited."""
    kept, made = entry(), storage()
    assert kept.vector is not None
    effects = (
        Recall("n", "k"),
        Put(kept, made.recall("n", "k").epoch, None),
        Recall("n", "k"),
        Search("n", "p", kept.vector, 0.9, 4),
        Sizes(["n", "m"]),
        Remove("n", ["k", "absent"]),
        Invalidate("n"),
    )
    before, stored, after, found, sizes, removed, invalidated = drive(asking(*effects), Place(made))
    assert (before.candidate, stored, after.candidate.entry.prompt) == (None, Stored(kept=True), "hello")
    assert [candidate.entry.key for candidate in found] == ["k"]
    assert isinstance(found[0], Candidate)
    assert (sizes, removed, invalidated) == ({"n": 1}, 1, 0)


class Far(Disk):
    """A storage that looks for both at once, and notes how it is asked."""

    recalls_and_searches = True
    asked: Search | None = None

    def recall_and_search(self, namespace: str, key: str, search: Search) -> Recalled:
        """Look for one key and for similar entries."""
        self.asked = search
        found = self.search(namespace, search.partition, search.vector, search.threshold, search.limit)
        return self.recall(namespace, key)._replace(similar=found)


def test_a_known_prompt_is_searched_for_along_with_its_key(drive: Callable[[Flow[Any], Place], Any]) -> None:
    """A storage that can is asked for both at once if the vector is known; without one, or elsewhere, for the key."""
    place = Place(Far())
    place.storage.put(entry(), place.storage.recall("n", "k").epoch, None)

    def looked_up() -> Flow[list[Any]]:
        info: ModelInfo = yield LoadModel()
        look = Recall("n", "absent", lambda: Beside("hello", info.model_id, "p", 0.9, 4))
        unknown = yield look
        yield Embed("hello", info.model_id)
        known = yield look
        plain = yield Recall("n", "absent")
        yield Embed(" ", info.model_id)
        blank = yield Recall("n", "absent", lambda: Beside(" ", info.model_id, "p", 0.9, 4))
        return [each.similar and [found.entry.key for found in each.similar] for each in (unknown, known, plain, blank)]

    assert drive(looked_up(), place) == [None, ["k"], None, None]
    asked = place.storage.asked
    assert (asked.namespace, asked.partition, asked.threshold, asked.limit) == ("n", "p", 0.9, 4)
    assert drive(looked_up(), Place(Disk())) == [None] * 4


def test_a_call_stays_with_the_parts_that_it_began_with(drive: Callable[[Flow[Any], Place], Any]) -> None:
    """Whoever replaces a storage, though it is empty, or an embedder during a call moves later calls only."""
    place = Place()
    begun_with, embedder = place.storage, place.embedder

    def replaced() -> Flow[list[Any]]:
        info: ModelInfo = yield LoadModel()
        recalled: Recalled = yield Recall("n", "k")
        place.storage, place.embedder = InMemoryStorage(), ManagedEmbedder(FakeEmbedder())
        yield Embed("one two", info.model_id)
        stored: Stored = yield Put(entry(), recalled.epoch, None)
        return [stored.kept]

    assert drive(replaced(), place) == [True]
    assert (len(begun_with), len(place.storage)) == (1, 0)
    assert embedder.cached_vector("one two", embedder.load().model_id)[0]


def test_the_model_is_prepared_and_embeds(drive: Callable[[Flow[Any], Place], Any]) -> None:
    """A model is loaded, and a text embedded, once by a worker, with its time reported; then both are at hand."""
    place = Place()
    prepared, again, vector, memoised, blank = drive(
        asking(LoadModel(), LoadModel(), Embed("hello"), Embed("hello"), Embed(" ")), place
    )
    assert prepared == again == ModelInfo("recallm/fake", {})
    assert vector is memoised
    assert blank is None
    assert [type(event) for event in place.events] == [Embedded, Embedded]
    assert all(event.seconds >= 0 for event in place.events if isinstance(event, Embedded))


def test_the_function_is_called_and_timed(drive: Callable[[Flow[Any], Place], Any]) -> None:
    """The function's response comes back as it is, with the time it took, and nothing is counted."""
    place = Place()
    (called,) = drive(asking(Call(otherwise=Bypass("model"))), place)
    assert isinstance(called, Called)
    assert called.response == "answer"
    assert called.seconds >= 0
    assert place.events == []


def test_events_are_told_in_order(drive: Callable[[Flow[Any], Place], Any]) -> None:
    """Events reach the observer in the order in which the flow emits them."""
    place = Place()
    drive(asking(Emit(Bypass("stream")), Emit(Bypass("model"))), place)
    assert place.events == [Bypass("stream"), Bypass("model")]


async def agrees_later(prompt: str, cached_prompt: str, response: object) -> bool:
    """Say whether the prompts are the same, after a pass of the event loop."""
    await asyncio.sleep(0)
    return prompt == cached_prompt


@pytest.mark.parametrize("verifier", [lambda prompt, cached, _: prompt == cached, agrees_later])
def test_a_verifier_of_either_kind_is_asked(
    drive: Callable[[Flow[Any], Place], Any], verifier: Callable[[str, str, Any], Any]
) -> None:
    """Sync and async verifiers give their verdict to sync and async callers."""
    effects = (Verify(verifier, "a", "a", 1), Verify(verifier, "a", "b", 1))
    assert drive(asking(*effects), Place()) == [True, False]


def question_of(messages: object) -> str:
    """Return what a model might make of a conversation."""
    return f"what about {messages}"


async def question_later(messages: object) -> str:
    """Return it after a pass of the event loop."""
    await asyncio.sleep(0)
    return question_of(messages)


@pytest.mark.parametrize("rewriter", [question_of, question_later])
def test_a_rewriter_of_either_kind_is_asked_once(
    drive: Callable[[Flow[Any], Place], Any], rewriter: Callable[[Any], Any]
) -> None:
    """Sync and async rewriters serve sync and async callers, and what they made of a conversation is remembered."""
    prompt = standalone(rewriter)
    effects = (Rewrite(prompt, "rain", b"one"), Rewrite(prompt, "not asked about", b"one"))
    assert drive(asking(*effects), Place()) == ["what about rain", "what about rain"]


def test_turns_are_embedded_together_unless_they_are_known(drive: Callable[[Flow[Any], Place], Any]) -> None:
    """Texts that were embedded lately are not embedded again, and blank ones have no vector."""
    embedder = FakeEmbedder()
    place = Place(embedder=ManagedEmbedder(embedder))
    turns = EmbedTurns(("a", " ", "b"), embedder.model_id)
    _, vectors, again = drive(asking(Embed("a", embedder.model_id), turns, turns), place)
    assert vectors.keys() == again.keys() == {"a", " ", "b"}
    assert (vectors[" "], vectors["a"] is again["a"], vectors["b"] is again["b"]) == (None, True, True)
    assert embedder.embedded == ["a", "b"]


def raising(*_: object) -> Any:
    """Fail."""
    raise OddVectorError("no")


async def raising_later(*_: object) -> Any:
    """Fail, awaited."""
    raise OddVectorError("no")


class Failing(FakeEmbedder):
    """An embedder that cannot embed."""

    embed: Any = raising


class FailingDisk(Disk):
    """A storage that cannot look."""

    recall: Any = raising


class FailingMemory(InMemoryStorage):
    """A storage that cannot look, and fails in place."""

    recall: Any = raising


class FailingRemote(Remote):
    """A storage that cannot look, and is awaited."""

    aperform: Any = raising_later
    recall: Any = raising


class Nowhere(Place):
    """A place whose embedder and storage cannot be looked up."""

    storage = property(raising, lambda *_: None)
    embedder = property(raising, lambda *_: None)


TROUBLE: list[tuple[Callable[[], Place], Effect]] = [
    (lambda: Place(FailingMemory()), Recall("n", "k")),
    (lambda: Place(FailingDisk()), Recall("n", "k")),
    (lambda: Place(FailingRemote()), Recall("n", "k")),
    (lambda: Place(embedder=ManagedEmbedder(Failing())), Embed("hello")),
    (lambda: Place(embedder=ManagedEmbedder(Loading(raising))), LoadModel()),
    (lambda: Place(embedder=ManagedEmbedder(Failing())), EmbedTurns(("a", "b"), FakeEmbedder.model_id)),
    (lambda: Place(embedder=ManagedEmbedder(FakeEmbedder())), EmbedTurns(("a", "b"), "another model")),
    (Place, Verify(raising, "a", "b", 1)),
    (Place, Verify(raising_later, "a", "b", 1)),
    (Place, Rewrite(standalone(raising), "a", b"a")),
    (Place, Rewrite(standalone(raising_later), "a", b"a")),
    (Nowhere, Recall("n", "k")),
    (Nowhere, Embed("hello")),
    (Nowhere, LoadModel()),
    (Nowhere, EmbedTurns(("a", "b"), "model")),
]


@pytest.mark.parametrize(("make_place", "effect"), TROUBLE)
def test_trouble_is_thrown_into_the_flow(
    drive: Callable[[Flow[Any], Place], Any], make_place: Callable[[], Place], effect: Effect
) -> None:
    """An exception of an effect is thrown into the flow, which may go on."""
    trouble, called = drive(asking(effect, Call()), make_place())
    assert isinstance(trouble, OddVectorError)
    assert called.response == "answer"


@pytest.mark.parametrize("otherwise", [Bypass("storage"), None])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_the_function_raises_passes_by_the_flow(otherwise: Event | None, asynchronous: bool) -> None:
    """An exception of the function reaches the caller unchanged; the flow is closed and its event counted."""
    place, ended, error = Place(), [], KeyError("own")

    def flow() -> Flow[None]:
        try:
            yield Call(otherwise=otherwise)
        except BaseException as thrown:
            ended.append(type(thrown))
            raise

    def fail() -> Any:
        raise error

    async def afail() -> Any:
        raise error

    def call() -> None:
        if asynchronous:
            asyncio.run(arun(flow(), place.handler(asynchronous=True), afail))
        else:
            run(flow(), place.handler(asynchronous=False), fail)

    with pytest.raises(KeyError) as caught:
        call()
    assert caught.value is error
    assert ended == [GeneratorExit]
    assert place.events == ([] if otherwise is None else [otherwise])


def test_what_the_flow_raises_reaches_the_caller(drive: Callable[[Flow[Any], Place], Any]) -> None:
    """An exception that the flow does not catch reaches the caller."""

    def flow() -> Flow[None]:
        yield Recall("n", "k")

    with pytest.raises(OddVectorError):
        drive(flow(), Place(FailingDisk()))


HANGING: list[tuple[str, Callable[[Callable[[], None]], Place], Callable[[Callable[[], None]], Effect]]] = [
    ("storage", lambda hold: Place(Disk(hold)), lambda _: Recall("n", "k")),
    ("embedding", lambda hold: Place(embedder=ManagedEmbedder(Held(hold))), lambda _: Embed("hello")),
    ("loading", lambda hold: Place(embedder=ManagedEmbedder(Loading(hold))), lambda _: LoadModel()),
    ("turns", lambda hold: Place(embedder=ManagedEmbedder(Held(hold))), lambda _: EmbedTurns(("a",), "recallm/fake")),
    ("verifier", lambda _: Place(), lambda hold: Verify(lambda *_: hold(), "a", "b", 1)),
    ("rewriter", lambda _: Place(), lambda hold: Rewrite(standalone(lambda _: hold(), timeout=SHORT), "a", b"a")),
]
in_a_thread = pytest.mark.parametrize(
    ("make_place", "make_effect"), [row[1:] for row in HANGING], ids=[row[0] for row in HANGING]
)


@in_a_thread
def test_what_hangs_is_left_behind(
    drive: Callable[[Flow[Any], Place], Any],
    gate: Gate,
    make_place: Callable[[Callable[[], None]], Place],
    make_effect: Callable[[Callable[[], None]], Effect],
) -> None:
    """After a time limit the flow goes on while the worker still hangs."""
    place = make_place(gate.hold)
    place.config = limits(SHORT)
    timeout, called = drive(asking(make_effect(gate.hold), Call()), place)
    assert isinstance(timeout, TimeoutError)
    assert called.response == "answer"
    assert not gate.open.is_set()


def test_a_model_that_hangs_is_waited_for_once(drive: Callable[[Flow[Any], Place], Any], gate: Gate) -> None:
    """Once the wait for a model has timed out, later calls go on without it at once."""
    place = Place(embedder=ManagedEmbedder(Loading(gate.hold)), config=limits(SHORT))
    first, second = drive(asking(LoadModel(), LoadModel()), place)
    assert isinstance(first, TimeoutError)
    assert isinstance(second, ModelUnavailableError)


async def never(*_: object) -> bool:
    """Wait forever."""
    return await asyncio.Event().wait()


@pytest.mark.parametrize(("storage", "effect"), [(Silent, Recall("n", "k")), (Remote, Verify(never, "a", "b", 1))])
def test_what_is_awaited_in_vain_is_left_behind(storage: Callable[[], Any], effect: Effect) -> None:
    """A server that never answers costs an async call its time limit and no more."""
    timeout, called = on_a_loop(asking(effect, Call()), Place(storage(), config=limits(SHORT)))
    assert isinstance(timeout, TimeoutError)
    assert called.response == "answer"


@in_a_thread
def test_the_event_loop_runs_while_a_worker_waits(
    gate: Gate,
    make_place: Callable[[Callable[[], None]], Place],
    make_effect: Callable[[Callable[[], None]], Effect],
) -> None:
    """A worker may wait for something that another task of the same loop does."""

    async def main() -> list[Any]:
        async def let_through() -> int:
            passes = 0
            while not gate.entered.is_set() or passes < 10:
                await asyncio.sleep(0)
                passes += 1
            gate.open.set()
            return passes

        ticking = asyncio.create_task(let_through())
        results = await arun(
            asking(make_effect(gate.hold), Call()), make_place(gate.hold).handler(asynchronous=True), aanswer
        )
        assert await ticking >= 10
        return results

    first, called = asyncio.run(main())
    assert not isinstance(first, Exception)
    assert called.response == "answer"


def test_a_storage_that_may_wait_is_never_asked_on_the_loop() -> None:
    """An async caller's blocking storage runs in another thread."""
    disk = Disk()
    on_a_loop(asking(Recall("n", "k")), Place(disk))
    assert disk.threads
    assert threading.get_ident() not in disk.threads


def test_an_async_storage_is_awaited_by_async_callers_only() -> None:
    """A sync caller of an async storage uses its sync operations."""
    remote = Remote()
    in_place(asking(Recall("n", "k")), Place(remote))
    assert remote.awaited == []
    on_a_loop(asking(Recall("n", "k")), Place(remote))
    assert remote.awaited == [Recall("n", "k")]


def cancelled_while(flow: Flow[Any], place: Place, entered: Callable[[], bool], function: Callable[[], Any]) -> None:
    """Cancel a call as soon as it is where it should be, and see that the cancellation comes out."""

    async def main() -> None:
        task = asyncio.create_task(arun(flow, place.handler(asynchronous=True), function))
        while not entered():
            assert not task.done()
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())


def recording_end(effect: Effect, ended: list[type[BaseException]]) -> Flow[None]:
    """Ask for one effect and record the exception that ended it."""
    try:
        yield effect
    except BaseException as thrown:
        ended.append(type(thrown))
        raise


@in_a_thread
def test_a_caller_cancelled_while_a_worker_waits(
    gate: Gate,
    make_place: Callable[[Callable[[], None]], Place],
    make_effect: Callable[[Callable[[], None]], Effect],
) -> None:
    """A cancelled caller stops waiting for a worker at once, and the storage's circuit counts no trouble."""
    ended: list[type[BaseException]] = []
    cancelled_while(recording_end(make_effect(gate.hold), ended), make_place(gate.hold), gate.entered.is_set, aanswer)
    assert ended == [GeneratorExit]
    assert not gate.open.is_set()


@pytest.mark.parametrize("what", ["storage", "verifier", "function"])
def test_a_caller_cancelled_while_it_awaits(what: str) -> None:
    """A cancelled caller cancels the operation that it awaits, and the call is counted once."""
    entered = threading.Event()

    async def held(*_: object) -> bool:
        entered.set()
        return await never()

    effects: dict[str, Effect] = {
        "storage": Recall("n", "k"),
        "verifier": Verify(held, "a", "b", 1),
        "function": Call(otherwise=Bypass("model")),
    }
    ended: list[type[BaseException]] = []
    place = Place(Silent(entered.set))
    cancelled_while(recording_end(effects[what], ended), place, entered.is_set, held)
    assert ended == [GeneratorExit]
    assert place.events == [Bypass("model" if what == "function" else "cancelled")]


def test_a_sync_function_is_cached_inside_a_running_loop() -> None:
    """A sync function called from a coroutine, with a storage that may wait, misses and then hits."""
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return prompt.upper()

    cached = SemanticCache(Disk(), limits(WAIT), FakeEmbedder()).wrap(ask, context={})

    async def main() -> list[str]:
        return [cached("one two three"), cached("one two three")]

    assert asyncio.run(main()) == ["ONE TWO THREE"] * 2
    assert asked == ["one two three"]


def test_the_function_sees_the_callers_context() -> None:
    """The function sees the caller's context variables, and a sync one may change them."""
    seen: list[str] = []

    def ask() -> None:
        seen.append(CONTEXT.get())
        CONTEXT.set("changed")

    async def aask() -> None:
        ask()

    async def main() -> str:
        CONTEXT.set("async caller")
        await arun(asking(Recall("n", "k"), Call()), Place(Disk()).handler(asynchronous=True), aask)
        return CONTEXT.get()

    token = CONTEXT.set("caller")
    try:
        run(asking(Recall("n", "k"), Call()), Place(Disk()).handler(asynchronous=False), ask)
        assert CONTEXT.get() == "changed"
        assert asyncio.run(main()) == "changed"
    finally:
        CONTEXT.reset(token)
    assert seen == ["caller", "async caller"]


def test_a_result_is_awaited_where_it_can_be() -> None:
    """`awaited` awaits an awaitable and returns everything else as it is."""
    assert asyncio.run(awaited("answer")) == "answer"
    assert asyncio.run(awaited(aanswer())) == "answer"


class Watched(Codec):
    """A codec that knows who decodes."""

    threads: set[int]

    def decode(self, payload: bytes) -> Any:
        """Record the thread."""
        self.threads = {threading.get_ident()}
        return super().decode(payload)


def test_large_answers_are_decoded_off_the_event_loop() -> None:
    """An async call has a worker decode a large answer; a sync one decodes it itself."""
    codec, place = Watched(), Place()
    effect = Decode(codec, codec.encode([1]))
    assert in_place(asking(effect), place) == [[1]]
    assert codec.threads == {threading.get_ident()}
    assert on_a_loop(asking(effect), place) == [[1]]
    assert codec.threads != {threading.get_ident()}


def test_guards_judge_long_prompts_off_the_event_loop() -> None:
    """An async call has a worker ask the guards about long prompts; a sync one asks them itself."""
    threads: list[int] = []

    def decide() -> Decision:
        threads.append(threading.get_ident())
        return Decision(())

    assert in_place(asking(Judge(decide)), Place()) == on_a_loop(asking(Judge(decide)), Place()) == [Decision(())]
    assert [thread == threading.get_ident() for thread in threads] == [True, False]
