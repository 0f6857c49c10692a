"""The decorator: its options, its mistakes, and a function that stays what it was."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from support.ids import named

import recallm
from recallm import CacheConfig, InMemoryStorage, semantic_cache
from recallm.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingContextError,
    RecallmError,
    RecallmWarning,
    SignatureMismatchError,
    UnknownNameError,
)
from recallm.storage.base import StorageBackend
from recallm.testing import Clock, FakeEmbedder


def options(**changes: Any) -> dict[str, Any]:
    """Return options that cache whatever is decorated in a storage of its own, with a model of its own."""
    return {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "guards": (), **changes}


def ask(question: str, *, user: str = "u", client: Any = None) -> str:
    """Answer a question."""
    return f"{question} for {user}"


class Counting:
    """Counts the calls of the function it makes."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def function(self) -> Callable[..., str]:
        """Return a function that notes its question."""

        def answer(question: str, *, user: str = "u", client: Any = None, timeout: float = 1.0) -> str:
            self.calls.append(question)
            return f"{question} for {user}"

        return answer


@pytest.fixture
def counting() -> Counting:
    """Return a counter."""
    return Counting()


def decorated(counting: Counting, **changes: Any) -> Any:
    """Return a counting function, cached; what it counts with is no part of its answers."""
    return semantic_cache(**options(ignore=("self", *changes.pop("ignore", ())), **changes))(counting.function())


async def later(*_: object) -> bool:
    """Agree, later."""
    return True


class Embedless:
    """Has a model id and nothing to embed with."""

    model_id = "m"


class Nameless:
    """Embeds, but does not say with which model."""

    def embed(self, text: str) -> list[float]:
        """Return a vector."""
        return [1.0]


class Numbered(Nameless):
    """Has a model id that is no text."""

    model_id = 7


class AsyncOnly(InMemoryStorage):
    """A storage that has only an async client."""

    serves_sync = False


COSINE = "use 'exact', 'strict', 'balanced', 'guarded', 'loose', or a cosine between 0 and 1"
SECONDS = "use a positive number of seconds, a datetime.timedelta or a text such as '1h30m', or None for no expiry"
EMBEDDER = "an embedder has model_id: str and embed(text) -> sequence of float"

MISTAKES: list[tuple[dict[str, Any], type[Exception], type[Exception], str, str]] = [
    ({"threshold": "near"}, InvalidValueError, ValueError, "threshold='near'", COSINE),
    ({"threshold": "Strict"}, InvalidValueError, ValueError, "threshold='Strict'", COSINE),
    ({"threshold": ""}, InvalidValueError, ValueError, "threshold=''", COSINE),
    ({"threshold": "0.9"}, InvalidValueError, ValueError, "threshold='0.9'", COSINE),
    ({"threshold": 1.01}, InvalidValueError, ValueError, "threshold=1.01", COSINE),
    ({"threshold": 92}, InvalidValueError, ValueError, "threshold=92", COSINE),
    ({"threshold": -0.1}, InvalidValueError, ValueError, "threshold=-0.1", COSINE),
    ({"threshold": float("nan")}, InvalidValueError, ValueError, "threshold=nan", COSINE),
    ({"threshold": float("inf")}, InvalidValueError, ValueError, "threshold=inf", COSINE),
    ({"threshold": True}, InvalidTypeError, TypeError, "threshold=True", COSINE),
    ({"threshold": None}, InvalidTypeError, TypeError, "threshold=None", COSINE),
    ({"threshold": [0.9]}, InvalidTypeError, TypeError, "threshold=[0.9]", COSINE),
    ({"threshold": 1j}, InvalidTypeError, TypeError, "threshold=1j", COSINE),
    ({"storage": "absent"}, UnknownNameError, LookupError, "'absent'", "registered: 'default'; register_storage("),
    ({"storage": "ftp://host"}, UnknownNameError, LookupError, "'ftp'", "use memory://, null://, redis://"),
    ({"storage": "memory://?max_entries=all"}, InvalidValueError, ValueError, "max_entries=all", "<positive int>"),
    ({"storage": {}}, InvalidTypeError, TypeError, "storage={}", "use a StorageBackend, a registered name or a URL"),
    ({"storage": InMemoryStorage}, InvalidTypeError, TypeError, "InMemoryStorage", "use a StorageBackend"),
    ({"storage": AsyncOnly()}, InvalidTypeError, TypeError, "AsyncOnly", "give it a sync_client"),
    ({"prompt": "query"}, SignatureMismatchError, TypeError, "prompt='query'", "parameters are 'question', 'user'"),
    ({"prompt": 7}, InvalidTypeError, TypeError, "prompt=7", "use an argument's name or a callable"),
    ({"context": "user"}, InvalidTypeError, TypeError, "context='user'", "use a mapping, or a callable"),
    ({"context": ["user"]}, InvalidTypeError, TypeError, "context=['user']", "use a mapping, or a callable"),
    ({"context": 0}, InvalidTypeError, TypeError, "context=0", "use a mapping, or a callable"),
    ({"ttl": -1}, InvalidValueError, ValueError, "ttl=-1", SECONDS),
    ({"ttl": 0}, InvalidValueError, ValueError, "ttl=0", SECONDS),
    ({"ttl": timedelta(0)}, InvalidValueError, ValueError, "ttl=datetime.timedelta(0)", SECONDS),
    ({"ttl": float("nan")}, InvalidValueError, ValueError, "ttl=nan", SECONDS),
    ({"ttl": float("inf")}, InvalidValueError, ValueError, "ttl=inf", SECONDS),
    ({"ttl": "1 hour"}, InvalidValueError, ValueError, "ttl='1 hour' says no time", SECONDS),
    ({"ttl": "30"}, InvalidValueError, ValueError, "ttl='30' says no time", SECONDS),
    ({"ttl": "30m1h"}, InvalidValueError, ValueError, "ttl='30m1h' says no time", SECONDS),
    ({"ttl": ""}, InvalidValueError, ValueError, "ttl='' is empty", SECONDS),
    ({"ttl": " "}, InvalidValueError, ValueError, "ttl=' ' says no time", SECONDS),
    ({"ttl": "0s"}, InvalidValueError, ValueError, "ttl='0s' says no time", SECONDS),
    ({"ttl": [60]}, InvalidTypeError, TypeError, "ttl=[60] is a list", SECONDS),
    ({"ttl": later}, InvalidTypeError, TypeError, "is async, and would never be awaited", "callable of the response"),
    ({"ttl_jitter": 1}, InvalidValueError, ValueError, "ttl_jitter=1 is not between 0 and 1", "such as 0.1, or 0"),
    ({"ttl_jitter": -0.1}, InvalidValueError, ValueError, "ttl_jitter=-0.1", "such as 0.1, or 0"),
    ({"ttl_jitter": True}, InvalidTypeError, TypeError, "ttl_jitter=True is a bool", "a number between 0 and 1"),
    ({"serve": "similar"}, InvalidValueError, ValueError, "serve='similar'", "'all', 'exact', 'none'"),
    ({"serve": "refresh"}, InvalidValueError, ValueError, "serve='refresh'", "'all', 'exact', 'none'"),
    ({"skip_if": True}, InvalidTypeError, TypeError, "skip_if=True is a bool", "a callable that returns a bool"),
    ({"skip_if": later}, InvalidTypeError, TypeError, "is async, and would never be", "a callable that returns a bool"),
    ({"price": 0.15}, InvalidTypeError, TypeError, "price=0.15 is a float", "use (0.15, 0.60)"),
    ({"price": "0.15"}, InvalidTypeError, TypeError, "price='0.15' is a str", "use (0.15, 0.60)"),
    ({"price": (0.15,)}, InvalidValueError, ValueError, "price=(0.15,) is no pair", "use (0.15, 0.60)"),
    ({"price": (0.15, -1)}, InvalidValueError, ValueError, "is negative or not finite", "use (0.15, 0.60)"),
    ({"price": (0.15, "1")}, InvalidTypeError, TypeError, "price gives a str", "use (0.15, 0.60)"),
    ({"price": {"in": 1, "out": 2}}, InvalidValueError, ValueError, "does not name the prices", "'input': 0.15"),
    ({"price": later}, InvalidTypeError, TypeError, "is async, and would never", "callable of the response"),
    ({"ttl": True}, InvalidTypeError, TypeError, "ttl=True", SECONDS),
    ({"embedder": Embedless()}, InvalidTypeError, TypeError, "Embedless", EMBEDDER),
    ({"embedder": Nameless()}, InvalidTypeError, TypeError, "Nameless", EMBEDDER),
    ({"embedder": Numbered()}, InvalidTypeError, TypeError, "Numbered", EMBEDDER),
    ({"embedder": FakeEmbedder}, InvalidTypeError, TypeError, "FakeEmbedder", EMBEDDER),
    ({"embedder": "BAAI/bge"}, InvalidTypeError, TypeError, "embedder='BAAI/bge'", EMBEDDER),
    ({"ignore": "client"}, InvalidTypeError, TypeError, "ignore='client'", "use ignore=('timeout',)"),
    ({"ignore": (7,)}, InvalidTypeError, TypeError, "ignore=(7,)", "use ignore=('timeout',)"),
    ({"ignore": ("Client",)}, SignatureMismatchError, TypeError, "'Client'", "parameters are 'question', 'user'"),
    ({"ignore": ("question",)}, SignatureMismatchError, TypeError, "'question'", "leave it out"),
    ({"response_type": 7}, InvalidTypeError, TypeError, "response_type=7", "use a class or a type expression"),
    ({"response_types": int}, InvalidTypeError, TypeError, "response_types=", "use a collection of classes"),
    ({"response_types": "int"}, InvalidTypeError, TypeError, "response_types='int'", "use a collection of classes"),
    ({"response_types": (int, 7)}, InvalidTypeError, TypeError, "response_type=7", "use a class or a type expression"),
    ({"coalesce": None}, InvalidTypeError, TypeError, "coalesce=None", "use True or False"),
    ({"guards": len}, InvalidTypeError, TypeError, "guards=<built-in", "use a sequence of callables"),
    ({"guards": "numbers"}, InvalidTypeError, TypeError, "guards='numbers'", "use a sequence of callables"),
    ({"guards": ["numbers"]}, InvalidTypeError, TypeError, "guards=['numbers']", "use a sequence of callables"),
    ({"guards": None}, InvalidTypeError, TypeError, "guards=None", "use a sequence of callables"),
    ({"guards": [later]}, InvalidTypeError, TypeError, "later", "use a callable that returns a bool, or verify="),
    ({"store_if": later}, InvalidTypeError, TypeError, "later", "use a callable that returns a bool, or verify="),
    ({"store_if": True}, InvalidTypeError, TypeError, "store_if=True", "use a callable that returns a bool"),
    ({"verify": "yes"}, InvalidTypeError, TypeError, "verify='yes'", "use a callable that returns a bool"),
    ({"config": {"ttl": 1}}, InvalidTypeError, TypeError, "config={'ttl': 1}", "use a CacheConfig"),
    ({"name": 7}, InvalidTypeError, TypeError, "name=7", "use a non-empty str"),
    ({"name": ""}, InvalidValueError, ValueError, "name=''", "use a non-empty str"),
    ({"namespace": 7}, InvalidTypeError, TypeError, "namespace=7", "use a non-empty str"),
    ({"namespace": ""}, InvalidValueError, ValueError, "namespace=''", "use a non-empty str"),
]


@pytest.mark.parametrize(
    ("mistake", "error", "builtin", "got", "remedy"), MISTAKES, ids=[named(row[0], 60) for row in MISTAKES]
)
def test_a_configuration_mistake_is_told_at_decoration(
    mistake: dict[str, Any], error: type[Exception], builtin: type[Exception], got: str, remedy: str
) -> None:
    """A wrong option raises at decoration, as recallm's error and the built-in one, with the value and the remedy."""
    with pytest.raises(error) as caught:
        semantic_cache(**options(**mistake))(ask)
    assert isinstance(caught.value, RecallmError)
    assert isinstance(caught.value, builtin)
    assert got in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("thing", ["strict", 7, 0.9, {}])
def test_only_what_can_be_called_is_decorated(thing: Any) -> None:
    """Decorating something else than a callable raises: an option passed by position is no function."""
    with pytest.raises(InvalidTypeError, match="only what can be called can be cached") as caught:
        semantic_cache(thing)
    assert repr(thing) in str(caught.value)


def two_texts(topic: str, style: str) -> str:
    """Take two texts."""
    return topic + style


def test_a_prompt_that_cannot_be_inferred_is_refused_at_decoration() -> None:
    """If the prompt cannot be inferred, the error names the candidates, and a name or a callable settles it."""
    with pytest.raises(TypeError, match=r"two_texts.*candidates are 'topic', 'style'; pass prompt='<name>'"):
        semantic_cache(**options())(two_texts)
    for prompt in ("style", lambda kw: kw["style"]):
        cached = semantic_cache(**options(prompt=prompt))(two_texts)
        assert cached("a", "b") == cached("a", "b") == "ab"
        assert cached.stats().exact_hits == 1
        assert cached.explain("a", "b").cached_prompt == "b"


def test_the_bare_and_the_called_form_are_the_same() -> None:
    """Without parentheses every option has its default, so every call must bring its context."""
    with_parentheses = semantic_cache()(ask)
    for cached in (semantic_cache(ask), with_parentheses):
        with pytest.raises(MissingContextError):
            cached("q")
        assert cached.__wrapped__ is ask
        assert cached.cache.config == CacheConfig()
        assert cached.cache.name == f"{__name__}.ask"


@pytest.mark.parametrize(
    ("given", "call", "error", "told"),
    [
        ({"context": None}, {}, MissingContextError, "pass cache_context="),
        ({"context": None}, {"cache_context": None}, MissingContextError, "pass cache_context="),
        ({}, {"cache_context": "u"}, InvalidTypeError, "cache_context gave a str; it must be a mapping"),
        ({"context": lambda kw: [kw["user"]]}, {}, InvalidTypeError, "context gave a list; it must be a mapping"),
        ({}, {"cache_namespace": 7}, InvalidTypeError, "cache_namespace is an int; use a non-empty str"),
        ({}, {"cache_namespace": ""}, InvalidValueError, "cache_namespace='' is empty; use a non-empty str"),
        ({"namespace": lambda kw: None}, {}, InvalidTypeError, "what namespace= returned is a NoneType"),
        ({}, {"cache_ttl": -1}, InvalidValueError, "cache_ttl is not positive"),
        ({}, {"cache_ttl": "an hour"}, InvalidValueError, "cache_ttl says no time"),
        ({}, {"cache_ttl": len}, InvalidTypeError, "cache_ttl is a builtin_function_or_method"),
        ({}, {"cache_serve": "all of it"}, InvalidValueError, "'all', 'exact', 'none', 'refresh', 'off'; use one"),
        ({}, {"cache_serve": None}, InvalidValueError, "'all', 'exact', 'none', 'refresh', 'off'; use one"),
        ({}, {"cache_serve": ["all"]}, InvalidValueError, "'all', 'exact', 'none', 'refresh', 'off'; use one"),
    ],
)
def test_a_mistake_at_the_call_raises_before_the_function_is_called(
    counting: Counting, given: dict[str, Any], call: dict[str, Any], error: type[Exception], told: str
) -> None:
    """A call without a context, or with a wrong one, raises and does not call the function."""
    cached = decorated(counting, **given)
    with pytest.raises(error) as caught:
        cached("q", **call)
    assert told in str(caught.value)
    assert counting.calls == []


def test_options_of_the_call_are_taken_from_the_function(counting: Counting) -> None:
    """A call's context, namespace and ttl count, and the function sees none of them."""
    cached = decorated(counting, context=None)
    cached("q", cache_context={"doc": 1}, cache_namespace="docs", cache_ttl=60)
    cached("q", cache_context={"doc": 1}, cache_namespace="docs", cache_ttl=None)
    cached("q", cache_context={"doc": 2}, cache_namespace="docs")
    cached("q", cache_context={"doc": 1}, cache_namespace="other")
    stats = cached.stats()
    assert (stats.hits, stats.misses) == (1, 3)
    assert stats.namespace_sizes == {"docs": 2, "other": 1}


def test_an_argument_without_a_form_is_a_bypass_with_one_warning(counting: Counting) -> None:
    """A call with an argument that cannot be fingerprinted is a bypass; one warning names `ignore`."""
    cached = decorated(counting)
    with pytest.warns(RecallmWarning, match=r"'client' .*pass ignore=\('client',\)") as caught:
        answers = [cached("q", client=object()) for _ in range(3)]
    assert answers == ["q for u"] * 3
    assert len(caught) == 1
    assert counting.calls == ["q"] * 3
    assert cached.stats().bypasses == {"unfingerprintable": 3}
    assert cached.stats().stored == 0


def test_warnings_turned_into_errors_do_not_fail_a_call(counting: Counting) -> None:
    """A call is answered whatever the user does with warnings."""
    cached = decorated(counting)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cached("q", client=object()) == "q for u"
    assert cached.stats().bypasses == {"unfingerprintable": 1}


def test_what_is_ignored_does_not_affect_the_answer(counting: Counting) -> None:
    """An ignored argument may be anything, a live client too; the others still count."""
    cached = decorated(counting, ignore=("client", "timeout"))
    cached("q", client=object())
    cached("q", client=None, timeout=9.0)
    cached("q", user="v")
    assert counting.calls == ["q", "q"]
    assert cached.stats().exact_hits == 1


@pytest.mark.parametrize(("distinct", "warned"), [(100, True), (99, False)])
def test_a_context_key_that_is_never_the_same_is_warned_about(counting: Counting, distinct: int, warned: bool) -> None:
    """A context key with a new value in each of a hundred misses is warned about once, by its name."""
    cached = decorated(counting, context=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(150 if warned else 100):
            context = {"request_id": min(number, distinct - 1), "user": "u"}
            cached(f"question {number}", cache_context=context, cache_namespace="n")
    told = [str(warning.message) for warning in caught if warning.category is RecallmWarning]
    assert ["`request_id` was unique in 100 of 100 calls" in text for text in told] == ([True] if warned else [])


@pytest.mark.parametrize(
    ("given", "call", "expected"),
    [
        ({}, {}, None),
        ({"namespace": "docs"}, {}, "docs"),
        ({"namespace": lambda kw: f"tenant {kw['user']}"}, {"user": "a"}, "tenant a"),
        ({"namespace": lambda kw: f"tenant {kw['user']}"}, {}, "tenant u"),
        ({"namespace": "docs"}, {"cache_namespace": "other"}, "other"),
        ({"config": CacheConfig(default_namespace="ours")}, {}, "ours"),
        ({"config": CacheConfig(default_namespace="ours"), "namespace": "docs"}, {}, "docs"),
    ],
)
def test_the_namespace_is_a_text_or_derived(
    counting: Counting, given: dict[str, Any], call: dict[str, Any], expected: str | None
) -> None:
    """The namespace is a text or derived from the arguments; if not given, the config's, else the function's path."""
    cached = decorated(counting, **given)
    cached("q", **call)
    own = f"{__name__}.Counting.function.<locals>.answer"
    assert cached.stats().namespace_sizes == {expected or own: 1}
    assert cached.explain("q", **call).namespace == (expected or own)


def test_settings_come_from_the_config_where_they_are_not_given(counting: Counting) -> None:
    """The decorator's own threshold and ttl, None included, take precedence over the config's."""
    clock = Clock()
    config = CacheConfig(threshold=0.5, default_ttl=10)
    kept = {"config": config, "storage": InMemoryStorage(clock=clock)}
    by_config = decorated(counting, namespace="a", **kept)
    lasting = decorated(counting, namespace="b", ttl=None, threshold="strict", **kept)
    assert by_config.cache.config.threshold == 0.5
    assert lasting.cache.config.threshold == "strict"
    by_config("q")
    lasting("q")
    clock.advance(11)
    assert by_config.explain("q").outcome == "miss"
    assert lasting.explain("q").outcome == "hit"


@pytest.mark.parametrize(("ttl", "lives"), [(10, False), (timedelta(minutes=1), True), (None, True)])
def test_answers_expire(counting: Counting, ttl: Any, lives: bool) -> None:
    """An answer with a ttl, in seconds or as a timedelta, expires; without one it stays."""
    clock = Clock()
    cached = decorated(counting, ttl=ttl, storage=InMemoryStorage(clock=clock))
    cached("q")
    clock.advance(30)
    cached("q")
    assert cached.stats().hits == lives


def test_a_similar_question_is_answered_from_the_cache(counting: Counting) -> None:
    """A prompt that reaches the threshold, and that no guard refuses, is answered without calling the function."""
    cached = decorated(counting, threshold=0.9)
    assert cached("what is a refund") == cached("a refund is what") == "what is a refund for u"
    assert cached("where is my parcel") == "where is my parcel for u"
    stats = cached.stats()
    assert (stats.semantic_hits, stats.misses) == (1, 2)
    assert stats.avg_similarity > 0.9


def test_guards_and_verifiers_may_refuse(counting: Counting) -> None:
    """Guards and verifiers get the two prompts in their order, and what they refuse is a counted miss."""
    seen: list[tuple[Any, ...]] = []

    def never(prompt: str, cached_prompt: str) -> bool:
        seen.append((prompt, cached_prompt))
        return False

    def doubtful(prompt: str, cached_prompt: str, response: Any) -> bool:
        seen.append((prompt, cached_prompt, response))
        return False

    guarded = decorated(counting, guards=(never,))
    verified = decorated(counting, verify=doubtful)
    for cached in (guarded, verified):
        cached("a b")
        cached("b a")
        assert cached.stats().misses == 2
    assert seen == [("b a", "a b"), ("b a", "a b", "a b for u")]
    assert guarded.stats().vetoes == {"never": 1}
    assert verified.stats().vetoes == {"verify": 1}


async def agreeing_later(prompt: str, cached_prompt: str, response: Any) -> bool:
    """Agree, later."""
    return prompt != cached_prompt and response == "a b for u"


@pytest.mark.parametrize("verify", [agreeing_later, lambda prompt, cached_prompt, response: "for u" in response])
def test_what_a_verifier_agrees_to_is_served(counting: Counting, verify: Any) -> None:
    """A sync or async verifier that agrees lets a similar answer through; it is not asked about the very prompt."""
    cached = decorated(counting, verify=verify)
    assert [cached("a b"), cached("b a"), cached("a b")] == ["a b for u"] * 3
    assert (cached.stats().semantic_hits, cached.stats().exact_hits) == (1, 1)


def test_store_if_chooses_what_is_kept(counting: Counting) -> None:
    """A response that `store_if` declines is returned, not stored, and computed again."""
    cached = decorated(counting, store_if=lambda response: "for u" in response)
    for user in ("u", "v", "u", "v"):
        assert cached("q", user=user) == f"q for {user}"
    assert len(counting.calls) == 3
    assert cached.stats().stored == 1


@pytest.mark.parametrize("given", [{}, {"store_if": None}], ids=["not given", "None"])
def test_a_cut_off_answer_is_asked_for_again(given: dict[str, Any]) -> None:
    """By default what is cut off, or empty, is returned and not stored; what it took and is stored is counted."""
    finishes = iter(["length", "stop"])
    kept = options(**given)

    @semantic_cache(**kept)
    def chat(prompt: str) -> dict[str, Any]:
        choice = {"finish_reason": next(finishes), "message": {"role": "assistant", "content": "Within"}}
        return {"object": "chat.completion", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}

    answers = [chat("a b"), chat("b a"), chat("a b")]
    assert [answer["choices"][0]["finish_reason"] for answer in answers] == ["length", "stop", "stop"]
    assert (chat.stats().stored, chat.stats().hits, chat.stats().saved_tokens) == (1, 1, 8)


def test_what_was_stored_and_is_unwanted_now_is_replaced() -> None:
    """A stored answer that `store_if` refuses by now is not served, as `explain` tells, and the new one replaces it."""
    drafts = iter(["draft", "final"])
    shared: dict[str, Any] = {**options(), "namespace": "n", "version": "1"}
    wanted = {"draft", "final"}

    @semantic_cache(**shared, store_if=lambda response: response in wanted)
    def write(prompt: str) -> str:
        return next(drafts)

    assert [write("a"), write("a")] == ["draft", "draft"]
    wanted.remove("draft")
    explanation = write.explain("a")
    assert (explanation.outcome, explanation.reason, explanation.vetoed_by) == ("miss", "unwanted", "store_if")
    assert [write("a"), write("a")] == ["final", "final"]
    assert write.stats().vetoes == {"store_if": 1}
    assert write.stats().namespace_sizes == {"n": 1}


def test_a_name_is_what_the_statistics_are_asked_by(counting: Counting) -> None:
    """`recallm.stats` reports a function under its name, which is its path if none is given."""
    cached = decorated(counting, name="support")
    cached("q")
    assert cached.cache.name == "support"
    assert recallm.stats("support").misses == 1
    assert "support" in recallm.caches()


def test_functions_that_share_a_storage_do_not_share_answers() -> None:
    """Equal questions to different functions are different calls, even in one namespace."""
    shared = options(namespace="shared")
    one = semantic_cache(**shared)(lambda prompt: "one")
    other = semantic_cache(**shared)(lambda prompt: "other")
    assert [one("q"), other("q"), one("q"), other("q")] == ["one", "other", "one", "other"]


@semantic_cache(**options())
def module_level(question: str, *, user: str = "u") -> str:
    """Answer at the module level."""
    return question


@semantic_cache(**options())
async def asynchronous(question: str) -> str:
    """Answer later."""
    return question


@semantic_cache(**options())
def generating(question: str) -> Iterator[str]:
    """Yield."""
    yield question


@semantic_cache(**options())
async def async_generating(question: str) -> Any:
    """Yield."""
    yield question


class Agent:
    """Has cached methods of every kind."""

    def __init__(self, name: str) -> None:
        self.name = name

    @semantic_cache(**options(ignore=("self",)))
    def method(self, question: str) -> str:
        """Answer as an instance."""
        return f"{self.name}: {question}"

    @semantic_cache(**options())
    @classmethod
    def of_class(cls, question: str) -> str:
        """Answer as a class."""
        return f"{cls.__name__}: {question}"

    @classmethod
    @semantic_cache(**options())
    def outside(cls, question: str) -> str:
        """Answer as a class, decorated first."""
        return f"{cls.__name__}: {question}"

    @semantic_cache(**options())
    @staticmethod
    def static(question: str) -> str:
        """Answer."""
        return question


class Specialist(Agent):
    """Inherits them."""


def plain(function: Any) -> Any:
    """Return a decorated function's undecorated twin."""
    return function.__wrapped__


DECORATED = [module_level, asynchronous, generating, async_generating]


@pytest.mark.parametrize("cached", DECORATED, ids=lambda fn: fn.__name__)
@pytest.mark.parametrize(
    "look",
    [
        lambda fn: (fn.__name__, fn.__qualname__, fn.__module__, fn.__doc__),
        inspect.signature,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.getdoc,
        inspect.getsource,
        inspect.unwrap,
        callable,
        lambda fn: isinstance(fn, type(plain)),
        lambda fn: fn.__defaults__,
        lambda fn: fn.__annotations__,
        lambda fn: fn.__kwdefaults__,
        lambda fn: fn.__code__,
    ],
)
def test_a_decorated_function_looks_as_it_did(cached: Any, look: Callable[[Any], object]) -> None:
    """`inspect` and `functools` see the undecorated function."""
    assert look(cached) == look(plain(cached))


def test_bound_methods_look_as_they_did() -> None:
    """A bound cached method has the method's name, doc and object, and no ``self`` in its signature."""
    agent = Agent("a")
    assert str(inspect.signature(agent.method)) == "(question: 'str') -> 'str'"
    assert inspect.ismethod(agent.method)
    assert agent.method.__self__ is agent
    assert agent.method.__name__ == "method"
    assert agent.method.__doc__ == "Answer as an instance."


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: Agent("a").method("q"), "a: q"),
        (lambda: Agent.method(Agent("a"), "q"), "a: q"),
        (lambda: Agent.of_class("q"), "Agent: q"),
        (lambda: Agent("a").of_class("q"), "Agent: q"),
        (lambda: Specialist.of_class("q"), "Specialist: q"),
        (lambda: Agent.outside("q"), "Agent: q"),
        (lambda: Specialist("s").outside("q"), "Specialist: q"),
        (lambda: Agent.static("q"), "q"),
        (lambda: Agent("a").static("q"), "q"),
    ],
)
def test_methods_of_every_kind_answer_and_hit(call: Callable[[], str], expected: str) -> None:
    """Methods called bound, through the class or inherited hit on the second call."""
    assert [call(), call()] == [expected, expected]


def test_subclasses_do_not_share_answers() -> None:
    """The class that a classmethod is called on is part of the key."""
    assert Agent.of_class("which") == "Agent: which"
    assert Specialist.of_class("which") == "Specialist: which"
    assert Agent.outside("which") == "Agent: which"
    assert Specialist.outside("which") == "Specialist: which"


class Configured:
    """An object whose state changes its answers."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, question: str) -> str:
        """Answer."""
        return f"{self.name}: {question}"

    @semantic_cache(**options(context=lambda kw: {"name": kw["self"].name}, ignore=("self",)))
    def method(self, question: str) -> str:
        """Answer."""
        return f"{self.name}: {question}"


def test_the_context_sees_self() -> None:
    """A context callable sees ``self`` even if the object itself is ignored."""
    assert [Configured("a").method("q"), Configured("b").method("q")] == ["a: q", "b: q"]
    assert Configured.method.stats().misses == 2
    assert Configured("a").method("q") == "a: q"
    assert Configured.method.stats().hits == 1


def test_partials_hold_their_arguments() -> None:
    """A partial of a cached function and a cached partial both key the arguments they hold."""
    cached = semantic_cache(**options())(functools.partial(ask, user="p"))
    assert [cached("q"), cached("q")] == ["q for p"] * 2
    assert cached.stats().hits == 1
    around = functools.partial(module_level, user="p")
    assert around("partial") == around("partial") == module_level("partial", user="p")
    assert not inspect.iscoroutinefunction(cached)
    assert inspect.iscoroutinefunction(functools.partial(asynchronous))


def test_callable_objects_keep_their_attributes() -> None:
    """A cached callable object is called through the cache and keeps its attributes."""
    cached = semantic_cache(**options())(Configured("a"))
    assert [cached("q"), cached("q")] == ["a: q"] * 2
    assert cached.stats().hits == 1
    assert cached.name == "a"  # type: ignore[attr-defined]  # known at run time only
    assert isinstance(cached, Configured)


@pytest.mark.parametrize("same", [copy.copy, copy.deepcopy, lambda fn: pickle.loads(pickle.dumps(fn))])  # noqa: S301  # ours
def test_a_decorated_function_is_copied_and_pickled_as_functions_are(same: Callable[[Any], Any]) -> None:
    """Copying or pickling a cached function gives the function itself, by its name."""
    assert same(module_level) is module_level


def test_bound_methods_are_copied_and_pickled_as_methods_are() -> None:
    """A copy of a bound method is the same; a deep copy or a pickled one belongs to a copy of the object."""
    agent = Agent("a")
    same: Any = copy.copy(agent.method)
    assert same.__self__ is agent
    for twin in (copy.deepcopy(agent.method), pickle.loads(pickle.dumps(agent.method))):  # noqa: S301  # ours
        assert twin.__self__ is not agent
        assert twin("q") == agent.method("q")


def test_a_cached_object_without_a_name_is_refused_by_pickle() -> None:
    """Pickling a cached object that has no name raises an error that says so."""
    cached = semantic_cache(**options())(Configured("a"))
    with pytest.raises(pickle.PicklingError, match="has no name"):
        pickle.dumps(cached)


def test_a_deep_copy_of_a_holder_shares_the_function() -> None:
    """A deep copy of an object that holds a cached function holds the same function."""
    holder = {"ask": module_level, "names": ["a"]}
    twin = copy.deepcopy(holder)
    assert twin["ask"] is module_level
    assert twin["names"] is not holder["names"]


def test_wrapping_again_leaves_the_cache_in_place() -> None:
    """`functools.wraps` and a second decorator see through a cached function."""

    @functools.wraps(module_level)
    def outer(*args: Any, **kwargs: Any) -> str:
        return module_level(*args, **kwargs)

    assert outer("again") == "again"
    assert outer.__name__ == "module_level"
    assert inspect.unwrap(outer) is module_level.__wrapped__


def test_a_storage_by_name_follows_the_name(counting: Counting) -> None:
    """A function decorated with a storage's name moves to another storage when the name does."""
    recallm.register_storage("followed", InMemoryStorage)
    try:
        cached = decorated(counting, storage="followed")
        cached("q")
        recallm.register_storage("followed", InMemoryStorage(), replace=True)
        assert isinstance(cached.cache.storage, StorageBackend)
        assert cached.explain("q").outcome == "miss"
    finally:
        recallm.unregister_storage("followed")


@pytest.mark.parametrize(
    ("config", "namespace"),
    [
        (CacheConfig(default_namespace="default"), "default"),
        (CacheConfig(default_namespace="mine"), "mine"),
        (CacheConfig(), None),
        (None, None),
    ],
)
def test_a_default_namespace_that_is_given_is_honoured(config: CacheConfig | None, namespace: str | None) -> None:
    """A config that gives a namespace gives it to decorated functions, too; else the function's path is one."""
    cached = semantic_cache(**options(config=config))(ask)
    cached("q")
    path = f"{ask.__module__}.{ask.__qualname__}"
    assert dict(cached.stats().namespace_sizes) == {namespace or path: 1}
