"""Usage that type checkers must understand: checked by mypy and pyright, never run.

Each line on which mypy ignores an error must be one on which pyright reports one, too; see `test_typing`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeVar, assert_type, overload

from recallm import CachedFunction, CacheStats, Explanation, InMemoryStorage, SemanticCache, semantic_cache
from recallm.testing import FakeEmbedder

T = TypeVar("T")
M = TypeVar("M", bound="Model")


class Model:
    """What a structured answer is read into."""


@semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
def answer(question: str, *, user: str = "u") -> list[str]:
    """Answer."""
    return [question, user]


@semantic_cache
def bare(question: str) -> int:
    """Answer."""
    return len(question)


@semantic_cache
def many(question: str, a: int, b: int = 0, c: int = 0, d: int = 0) -> int:
    """Answer."""
    return len(question) + a + b + c + d


@semantic_cache
def any_number(*questions: str, **options: int) -> dict[str, Any]:
    """Answer."""
    return dict.fromkeys(questions, options)


@semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
async def later(question: str, n: int = 1) -> bytes:
    """Answer later."""
    return question.encode() * n


@semantic_cache
def extract(prompt: str, model: type[M]) -> M:
    """Answer as a model."""
    return model()


@semantic_cache
async def extract_later(prompt: str, model: type[M]) -> list[M]:
    """Answer as models, later."""
    return [model()]


class Agent:
    """Has cached methods of all kinds, the decorators in both orders."""

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder(), ignore=("self",))
    def ask(self, question: str, n: int = 1) -> float:
        """Answer."""
        return float(len(question) * n)

    @semantic_cache(ignore=("self",))
    async def later(self, question: str) -> float:
        """Answer later."""
        return float(len(question))

    @semantic_cache(ignore=("self",))
    def extract(self, prompt: str, model: type[M]) -> M:
        """Answer as a model."""
        return model()

    @classmethod
    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
    def ask_class(cls, question: str) -> float:
        """Answer."""
        return float(len(question))

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
    @classmethod
    def ask_class_too(cls, question: str) -> float:
        """Answer."""
        return float(len(question))

    @staticmethod
    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
    def ask_nobody(question: str) -> float:
        """Answer."""
        return float(len(question))

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder())
    @staticmethod
    def ask_nobody_too(question: str) -> float:
        """Answer."""
        return float(len(question))


class Expert(Agent):
    """Inherits the methods."""


class Box(Generic[T]):
    """A generic class."""

    def __init__(self, value: T) -> None:
        self.value = value

    @semantic_cache(ignore=("self",))
    def ask(self, question: str, other: T) -> T:
        """Answer."""
        return other if question else self.value


class Ask:
    """A callable object."""

    def __call__(self, question: str, n: int = 1) -> int:
        """Answer."""
        return len(question) * n


class Completions:
    """Has an overloaded method, as clients have."""

    @overload
    def create(self, *, messages: list[str], stream: Literal[False] = False) -> str: ...
    @overload
    def create(self, *, messages: list[str], stream: Literal[True]) -> Iterator[str]: ...
    def create(self, *, messages: list[str], stream: bool = False) -> str | Iterator[str]:
        """Answer."""
        return iter(messages) if stream else messages[-1]


class Answers(Protocol):
    """What a program may ask of a function."""

    def __call__(self, question: str, *, user: str = ...) -> list[str]:
        """Answer."""
        ...


def pass_on(_one: Callable[[str], list[str]], _two: Answers, _three: CachedFunction[..., list[str]]) -> None:
    """Take a cached function as what it may pass for."""


def use_functions() -> None:
    """Call functions; each result has the type that the function's own would have."""
    assert_type(answer("q", user="v"), list[str])
    assert_type(answer("q", user="v", cache_context={"doc": 1}, cache_ttl=60), list[str])
    assert_type(answer(question="q", cache_namespace="n"), list[str])
    assert_type(bare("q", cache_context={}, cache_namespace="n", cache_ttl=None), int)
    assert_type(many("q", 1, cache_ttl=1), int)
    assert_type(many("q", 1, 2, d=3, cache_ttl=1), int)
    assert_type(many("q", 1, 2, 3, 4, cache_ttl=1), int)
    assert_type(any_number("q", "r", n=1, cache_ttl=1), dict[str, Any])
    answer()  # type: ignore[call-overload]
    answer(1)  # type: ignore[call-overload]
    answer("q", "v")  # type: ignore[call-overload]
    answer("q", usr="v")  # type: ignore[call-overload]
    answer("q", user=2)  # type: ignore[call-overload]
    answer("q", {})  # type: ignore[call-overload]
    answer(cache_context={})  # type: ignore[call-overload]
    answer(1, cache_context={})  # type: ignore[call-overload]
    answer("q", "v", cache_namespace="n")  # type: ignore[call-overload]
    answer("q", usr="v", cache_ttl=1)  # type: ignore[call-overload]
    answer("q", user=2, cache_context={})  # type: ignore[call-overload]
    answer("q", cache_contxt={})  # type: ignore[call-overload]
    assert_type(answer("q", cache_ttl="1h30m", cache_serve="refresh"), list[str])
    assert_type(many("q", 1, cache_serve="off"), int)
    answer("q", cache_serve="similar")  # type: ignore[call-overload]
    answer("q", cache_ttl=b"1")  # type: ignore[call-overload]
    answer("q", cache_namespace=1)  # type: ignore[call-overload]
    many("q", cache_ttl=1)  # type: ignore[call-overload]
    many("q", "r", cache_ttl=1)  # type: ignore[call-overload]
    many("q", 1, "r", cache_ttl=1)  # type: ignore[call-overload]
    any_number("q", 1, cache_ttl=1)  # type: ignore[call-overload]
    any_number("q", n="1", cache_ttl=1)  # type: ignore[call-overload]


def use_generic_functions() -> None:
    """Call generic functions; mypy does not check all calls of them that have keywords of the cache."""
    assert_type(extract("q", Model), Model)
    assert_type(extract(prompt="q", model=Model, cache_ttl=1), Model)
    assert_type(Agent().extract("q", Model), Model)
    assert_type(Agent().extract.refresh("q", model=Model), Model)
    assert_type(Box(1).ask("q", 2, cache_ttl=1), int)
    assert_type(Box(1).ask("q", 2, cache_serve="none"), int)
    read_anew: Model = extract("q", Model, cache_serve="refresh")
    assert_type(read_anew, Model)
    read: Model = extract("q", Model, cache_ttl=1)
    read = extract("q", model=Model, cache_ttl=1)
    read = Agent().extract(prompt="q", model=Model, cache_ttl=1)
    read = Agent().extract("q", Model, cache_context={"after": read})
    extract("q", int)  # type: ignore[type-var]
    extract(Model, "q")  # type: ignore[call-overload]
    Agent().extract("q", int)  # type: ignore[type-var]
    Box(1).ask("q", "2")  # type: ignore[call-overload]
    Box(1).ask("q", "2", cache_ttl=1)  # type: ignore[call-overload]
    Agent().extract(1, Model)  # type: ignore[call-overload]
    extract("q", int, cache_ttl=1)  # only pyright reports this


def use_methods() -> None:
    """Call methods on objects and classes."""
    assert_type(Agent().ask("q", 2), float)
    assert_type(Expert().ask("q", n=2, cache_ttl=1), float)
    assert_type(Expert.ask(Expert(), "q", cache_ttl=1), float)
    for each in (Agent(), Expert()):
        assert_type(each.ask_class("q"), float)
        assert_type(each.ask_class_too("q", cache_ttl=1), float)
        assert_type(each.ask_nobody("q"), float)
        assert_type(each.ask_nobody_too("q", cache_ttl=1), float)
        each.ask(1)  # type: ignore[call-overload]
        each.ask("q", 1, 2)  # type: ignore[call-overload]
        each.ask(1, cache_ttl=1)  # type: ignore[call-overload]
        each.ask_class(1)  # type: ignore[call-overload]
        each.ask_class_too()  # type: ignore[call-overload]
        each.ask_class_too(1, cache_ttl=1)  # type: ignore[call-overload]
        each.ask_nobody(1)  # type: ignore[call-overload]
        each.ask_nobody_too("q", "r")  # type: ignore[call-overload]
        each.ask_nobody_too(1, cache_ttl=1)  # type: ignore[call-overload]
    assert_type(Expert.ask_class("q", cache_ttl=1), float)
    assert_type(Expert.ask_class_too("q", cache_ttl=1), float)
    assert_type(Expert.ask_nobody("q", cache_ttl=1), float)
    assert_type(Expert.ask_nobody_too("q", cache_ttl=1), float)
    Expert.ask("q")  # type: ignore[call-overload]
    Expert.ask_class(1, cache_ttl=1)  # type: ignore[call-overload]
    Expert.ask_class_too(1)  # type: ignore[call-overload]
    Expert.ask_nobody(1, cache_ttl=1)  # type: ignore[call-overload]
    Expert.ask_nobody_too(1)  # type: ignore[call-overload]


def use_callables() -> None:
    """Call what is wrapped by hand; of an overloaded function, checkers take the first overload."""
    cache = SemanticCache(InMemoryStorage(), embedder=FakeEmbedder())
    ask = cache.wrap(Ask(), context={})
    assert_type(ask("q", 2, cache_ttl=1), int)
    ask("q", "r")  # type: ignore[call-overload]
    ask(1, cache_ttl=1)  # type: ignore[call-overload]
    create = cache.wrap(Completions().create)
    assert_type(create(messages=["q"], stream=False, cache_context={}), str)
    create()  # type: ignore[call-overload]
    create(messages=1)  # type: ignore[call-overload]
    create(messages=["q"], strem=False, cache_ttl=1)  # type: ignore[call-overload]
    part = semantic_cache(partial(bare.__wrapped__))
    assert_type(part("q", cache_ttl=1), int)
    part(1)  # only pyright reports this
    assert_type(cache.wrap(len, prompt=str, context={}).stats(), CacheStats)
    assert_type(semantic_cache(answer)("q"), list[str])
    assert_type(list(map(answer, ["q"])), list[list[str]])
    pass_on(answer, answer, answer)
    pass_on(bare, answer, answer)  # type: ignore[arg-type]


def use_handles() -> None:
    """Use the handles, which take what the function takes."""
    assert_type(answer.__wrapped__("q", user="v"), list[str])
    assert_type(answer.refresh("q", cache_ttl=1), list[str])
    assert_type(answer.invalidate("q", user="v", cache_namespace="n"), int)
    assert_type(answer.explain("q", cache_context={}), Explanation)
    assert_type(answer.stats(), CacheStats)
    assert_type(answer.cache, SemanticCache)
    assert_type(Agent().ask.clear(), int)
    assert_type(Agent().ask.explain("q", 2, cache_ttl=1), Explanation)
    assert_type(Agent.ask_class_too.refresh("q"), float)
    answer.refresh()  # type: ignore[call-overload]
    answer.explain("q", usr="v")  # type: ignore[call-overload]
    answer.invalidate(1, cache_namespace="n")  # type: ignore[call-overload]
    Agent().ask.explain("q", "r", cache_ttl=1)  # type: ignore[call-overload]
    Agent().ask.refresh(question=1)  # type: ignore[call-overload]


async def use_async() -> None:
    """Await what is decorated."""
    call: Coroutine[Any, Any, bytes] = later("q", cache_ttl=1)
    assert_type(await call, bytes)
    awaitable: Awaitable[bytes] = later.refresh("q")
    assert_type(await awaitable, bytes)
    assert_type(await later.arefresh("q", cache_ttl=1), bytes)
    assert_type(await answer.arefresh("q"), list[str])
    assert_type(await later.aexplain("q"), Explanation)
    assert_type(await later.ainvalidate("q"), int)
    assert_type(await Agent().later("q", cache_context={}), float)
    assert_type(await Agent().later.arefresh("q"), float)
    assert_type(await extract_later("q", Model), list[Model])
    models: list[Model] = await extract_later("q", Model, cache_ttl=1)
    await later(1)  # type: ignore[call-overload]
    await later("q", m=1, cache_ttl=1)  # type: ignore[call-overload]
    await later.arefresh("q", m=1)  # type: ignore[call-overload]
    await later.ainvalidate(models)  # type: ignore[call-overload]
