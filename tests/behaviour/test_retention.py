"""What recallm keeps alive: nothing of functions, classes and objects that the program has dropped."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from types import ModuleType
from typing import Any
from weakref import ref

import pytest
from pydantic import BaseModel, create_model

from recallm import InMemoryStorage, semantic_cache
from recallm.testing import Clock, FakeEmbedder

EMBEDDER, STORAGE = FakeEmbedder(), InMemoryStorage(max_entries=5)
ROUNDS = 100


def cached(fn: Callable[..., Any]) -> Any:
    """Return a function, cached."""
    return semantic_cache(context={}, storage=STORAGE, embedder=EMBEDDER)(fn)


class Client:
    """Something of the program's that may hold much, and connections."""

    def __init__(self) -> None:
        self.buffer = bytearray(20_000)

    def go(self) -> int:
        """Answer."""
        return len(self.buffer)


def ask_all(ask: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Call a cached function twice, so that an answer is stored and found, and explain it."""
    ask("hi", *args, **kwargs)
    ask("hi", *args, **kwargs)
    ask.explain("hi there", *args, **kwargs)  # type: ignore[attr-defined]  # a cached function


def a_container_in_a_closure() -> Iterator[object]:
    """Make a function that closes over containers which hold what takes no weak reference."""
    client = Client()
    settings = {"client": client, "rows": [iter([client]), zip([client], [1], strict=True), object()]}

    def ask(prompt: str) -> int:
        return len(settings)

    ask_all(cached(ask))
    yield client


def an_object_that_cannot_be_read() -> Iterator[object]:
    """Make a function that closes over objects of built-in types, which hide what they hold."""
    client = Client()
    rows, pairs = iter([client]), zip([client], [1], strict=True)

    def ask(prompt: str) -> bool:
        return (rows, pairs) is None

    ask_all(cached(ask))
    yield client


def a_local_class() -> Iterator[object]:
    """Make a function that closes over an instance of a class with attributes and slots."""

    class Base:
        __slots__ = ("__weakref__", "a")

    class Bot(Base):
        def __init__(self) -> None:
            self.a = 1
            self.client = Client()

        def go(self) -> int:
            return self.a

    bot = Bot()

    def ask(prompt: str) -> int:
        return bot.go()

    ask_all(cached(ask))
    yield from (bot, Bot, Base, bot.client)


def a_cached_method() -> Iterator[object]:
    """Make a class with a cached method, and call it."""

    class Bot:
        @semantic_cache(context={}, storage=STORAGE, embedder=EMBEDDER)
        def ask(self, prompt: str) -> str:
            return "x"

    bot = Bot()
    ask_all(bot.ask)
    yield from (bot, Bot)


def a_class_that_is_returned() -> Iterator[object]:
    """Make a function that returns instances of its own classes."""

    @dataclass
    class Answer:
        text: str = "x"

    class Model(BaseModel):
        text: str = "x"

    class Mood(Enum):
        GOOD = "good"

    def ask(prompt: str) -> Answer | None:
        return Answer()

    def ask_for_others(prompt: str) -> Any:
        return [Model(), Mood.GOOD]

    ask_all(cached(ask))
    ask_all(cached(ask_for_others))
    yield from (Answer, Model, Mood)


def a_generated_function() -> Iterator[object]:
    """Make a function of code that is compiled anew."""
    names: dict[str, Any] = {"__name__": __name__}
    exec("def ask(prompt): return help(prompt)\ndef help(prompt): return 'x'", names)  # noqa: S102  # its own text
    ask_all(cached(names["ask"]))
    yield from (names["ask"], names["ask"].__code__, names["help"].__code__)


def a_module_that_is_loaded_again() -> Iterator[object]:
    """Load a module, cache a function in it, and unload it."""
    module: Any = ModuleType("loaded_again")
    sys.modules["loaded_again"] = module
    source = "class A:\n def __init__(self): self.x = 1\nA_ = A()\ndef ask(prompt): return A_.x"
    exec(source, vars(module))  # noqa: S102  # its own text
    ask_all(cached(module.ask))
    del sys.modules["loaded_again"]
    yield from (module, module.A, module.A_)


@cached
def lasting(prompt: str, thing: Any = None) -> Any:
    """Answer; this function outlives what is passed to it."""
    return thing() if isinstance(thing, Maker) else "x"


class Maker:
    """Makes an answer."""

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make

    def __call__(self) -> object:
        """Return an answer."""
        return self.make()


class Lasting:
    """A class that outlives its instances."""

    @semantic_cache(context={}, storage=STORAGE, embedder=EMBEDDER)
    def ask(self, prompt: str) -> str:
        """Answer."""
        return "x"


def an_instance_as_self() -> Iterator[object]:
    """Make an instance for one call of a cached method."""
    one = Lasting()
    ask_all(one.ask)
    yield one


def an_object_as_an_argument() -> Iterator[object]:
    """Pass an object, a container with it, and its method."""
    client = Client()
    for thing in (client, {"held": [client]}, client.go):
        ask_all(lasting, thing)
    yield client


def a_class_as_an_argument() -> Iterator[object]:
    """Pass a local class, and several instances of it."""

    class Local:
        def __init__(self) -> None:
            self.a = 1

    lasting("hi", Local)
    lasting("hi", [Local(), Local()])
    yield Local


def a_function_as_an_argument() -> Iterator[object]:
    """Pass a local function that closes over much."""
    client = Client()
    lasting("hi", lambda: client)
    yield client


KINDS = (
    a_container_in_a_closure,
    an_object_that_cannot_be_read,
    a_local_class,
    a_cached_method,
    a_class_that_is_returned,
    a_generated_function,
    a_module_that_is_loaded_again,
    an_instance_as_self,
    an_object_as_an_argument,
    a_class_as_an_argument,
    a_function_as_an_argument,
)


@pytest.mark.filterwarnings("ignore::recallm.errors.RecallmWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_what_was_dropped(kind: Callable[[], Iterator[object]]) -> None:
    """Of many functions, classes and objects that were made, used and dropped, none is alive."""
    kept = [ref(each) for _ in range(ROUNDS) for each in kind()]
    gc.collect()
    alive = [each() for each in kept if each() is not None]
    assert len(alive) <= len(kept) // ROUNDS, f"{len(alive)} of {len(kept)}"


@pytest.mark.filterwarnings("ignore::recallm.errors.RecallmWarning")
def test_classes_that_a_lasting_function_returns_are_kept_in_small_number() -> None:
    """Of classes that are made for each answer, only the latest are kept, so that stored answers can be served."""
    kept = []
    for number in range(ROUNDS):
        answer = create_model(f"Answer{number}", text=(str, "x"))
        kept.append(ref(answer))
        lasting("hi", Maker(answer))
        del answer
    gc.collect()
    assert sum(each() is not None for each in kept) <= 20


@pytest.mark.parametrize("stale", [None, 100.0], ids=["raised at once", "raised after all"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_a_function_held_is_freed_with_its_exception(asynchronous: bool, stale: float | None) -> None:
    """An exception that was handled leaves no cycle that keeps the function's variables until garbage is collected."""
    clock, kept = Clock(), list[ref[Client]]()

    def answer(prompt: str, fail: bool) -> str:
        if fail:
            client = Client()
            kept.append(ref(client))
            raise ConnectionError
        return "an answer"

    async def aanswer(prompt: str, fail: bool) -> str:
        return answer(prompt, fail)

    given: dict[str, Any] = {"storage": InMemoryStorage(clock=clock), "ignore": ("fail",), "guards": ()}
    ask: Any = semantic_cache(context={}, embedder=EMBEDDER, ttl=10, stale_if_error=stale, version="1", **given)(
        aanswer if asynchronous else answer
    )

    async def acall(fail: bool) -> None:
        with suppress(ConnectionError):
            await ask("hi", fail)

    def call(fail: bool) -> None:
        with suppress(ConnectionError):
            asyncio.run(acall(fail)) if asynchronous else ask("hi", fail)

    call(False)
    clock.advance(11)
    gc.collect()
    gc.disable()
    try:
        if stale is not None:
            call(True)
            clock.advance(stale)
        call(True)
        assert [each() for each in kept] == [None] * len(kept)
    finally:
        gc.enable()
    assert kept


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::recallm.errors.RecallmWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_memory_stays_flat(kind: Callable[[], Iterator[object]]) -> None:
    """Many rounds of making, using and dropping keep less than a tenth of what the objects of each hold."""

    def rounds(count: int) -> int:
        for _ in range(count):
            for _each in kind():
                pass
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    rounds(30)
    tracemalloc.start()
    try:
        # What bounded caches hold from before is replaced for a while; what stays for ever grows all the time.
        sizes = (rounds(40) for _ in range(7))
        assert any(after - before < 40 * 2000 for before, after in pairwise(sizes))
    finally:
        tracemalloc.stop()
