"""Signatures: what lies under a callable's wrappers, what its calls become, how they bind, which argument is asked."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any

import pytest
import wrapt
from hypothesis import given
from hypothesis import strategies as st
from support.ids import named

from recallm.errors import InvalidTypeError, InvalidValueError, RecallmError, SignatureMismatchError
from recallm.keying.signature import (
    Binder,
    call_kind,
    checked_ignore,
    checked_prompt,
    chosen_call_kind,
    fitting,
    function_path,
    unwrap_function,
    where_defined,
)


def plain(question: str) -> Any:
    """Take these arguments."""


async def coroutine(question: str) -> Any:
    """Take these arguments."""


def generator(question: str) -> Any:
    """Yield."""
    yield question


async def async_generator(question: str) -> Any:
    """Yield."""
    yield question


class Sync:
    """A callable object."""

    def __call__(self, question: str) -> Any:
        """Take these arguments."""

    def method(self, question: str) -> Any:
        """Take these arguments."""

    @classmethod
    async def of_class(cls, question: str) -> Any:
        """Take these arguments."""


class Async:
    """A callable object that is awaited."""

    async def __call__(self, question: str) -> Any:
        """Take these arguments."""


class Streaming:
    """A callable object that generates."""

    async def __call__(self, question: str) -> Any:
        """Yield."""
        yield question


@functools.wraps(coroutine)
def wrapping(question: str) -> Any:
    """Return a coroutine from a plain function."""
    return coroutine(question)


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (plain, "sync"),
        (coroutine, "async"),
        (generator, "generator"),
        (async_generator, "generator"),
        (partial(plain), "sync"),
        (partial(coroutine), "async"),
        (partial(partial(generator)), "generator"),
        (staticmethod(coroutine), "async"),
        (staticmethod(async_generator), "generator"),
        (partial(Async()), "async"),
        (Sync(), "sync"),
        (Sync().method, "sync"),
        (Sync.of_class, "async"),
        (Async(), "async"),
        (Streaming(), "generator"),
        (Sync, "sync"),
        (len, "sync"),
        (lambda: None, "sync"),
        (wrapping, "async"),
    ],
    ids=named,
)
def test_the_kind_is_that_of_what_is_called(fn: Callable[..., Any], kind: str) -> None:
    """What a call does is found under partials, descriptors and callable objects."""
    assert call_kind(fn) == kind


@wrapt.decorator
def through_wrapt(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Call the function."""
    return wrapped(*args, **kwargs)


@pytest.mark.parametrize(
    ("fn", "path"),
    [
        (plain, "plain"),
        (partial(partial(plain), "x"), "plain"),
        (wrapping, "coroutine"),
        (through_wrapt(plain), "plain"),
        (staticmethod(plain), "plain"),
        (Sync(), "Sync"),
        (Sync().method, "Sync.method"),
        (Sync, "Sync"),
    ],
)
def test_the_path_is_that_of_the_function_at_the_bottom(fn: Any, path: str) -> None:
    """Partials, wrappers and objects are named for what they call."""
    assert function_path(fn) == f"{__name__}.{path}"


def test_builtins_have_a_path() -> None:
    """A function written in C has a path too."""
    assert function_path(len) == "builtins.len"


@pytest.mark.parametrize(
    ("fn", "code"),
    [
        (plain, plain.__code__),
        (partial(plain), plain.__code__),
        (staticmethod(plain), plain.__code__),
        (through_wrapt(plain), plain.__code__),
        (functools.lru_cache(plain), plain.__code__),
        (wrapping, coroutine.__code__),
        (Sync().method, Sync.method.__code__),
        (Sync(), Sync.__call__.__code__),
        (partial(Async()), Async.__call__.__code__),
    ],
)
def test_a_function_is_defined_in_a_line_of_a_file(fn: Any, code: CodeType) -> None:
    """What is called through partials, wrappers and objects is defined where its function is."""
    assert where_defined(fn) == (__file__, code.co_firstlineno)


@pytest.mark.parametrize("fn", [len, Sync, functools.lru_cache(len)])
def test_what_has_no_code_of_its_own_is_nowhere(fn: Any) -> None:
    """A function written in C has no line, nor has a class."""
    assert where_defined(fn) == ("<unknown>", 1)


class Greedy:
    """Passes for a wrapper, as it does for everything it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return Greedy()

    def __call__(self, question: str) -> Any:
        """Take these arguments."""


class Circular:
    """Passes for a wrapper of itself."""

    def __init__(self) -> None:
        self.__wrapped__ = self

    def __call__(self, question: str) -> Any:
        """Take these arguments."""


@pytest.mark.parametrize("fn", [Greedy(), Circular()], ids=lambda fn: type(fn).__name__)
def test_wrappers_without_a_function_under_them_do_not_hold_up_the_search(fn: Any) -> None:
    """An object may claim to wrap itself, or another of its kind without end."""
    assert type(unwrap_function(fn, through_wrappers=True)) is type(fn)
    assert unwrap_function(fn) is fn
    assert call_kind(fn) == "sync"
    assert where_defined(fn) == (__file__, type(fn).__call__.__code__.co_firstlineno)


def test_the_path_of_a_wrapper_of_itself_is_that_of_its_class() -> None:
    """A wrapper of itself has no function under it that could be named."""
    assert function_path(Circular()) == f"{__name__}.Circular"


@pytest.mark.parametrize(
    ("fn", "mode", "kind"),
    [
        (plain, "auto", "sync"),
        (plain, "sync", "sync"),
        (plain, "async", "async"),
        (coroutine, "auto", "async"),
        (coroutine, "async", "async"),
        (generator, "async", "generator"),
        (generator, "sync", "generator"),
    ],
)
def test_a_mode_may_make_a_sync_function_async(fn: Any, mode: Any, kind: str) -> None:
    """The mode ``"async"`` makes a sync function async; a generator stays one in every mode."""
    assert chosen_call_kind(fn, mode) == kind


def test_a_mode_that_does_not_fit_is_refused() -> None:
    """A mode that is unknown, or ``"sync"`` for an async function, is an error that says what is allowed."""
    with pytest.raises(InvalidTypeError, match=r"'sync'.*coroutine.*'auto' or 'async'"):
        chosen_call_kind(coroutine, "sync")
    for mode in ("threads", None, True):
        with pytest.raises(InvalidValueError, match=f"mode={mode!r}.*'auto', 'sync', 'async'"):
            chosen_call_kind(plain, mode)  # type: ignore[arg-type]  # a wrong mode is the point


class Agent:
    """Has a method."""

    def ask(self, question: Any, *, depth: Any = 1) -> Any:
        """Take one text."""


def with_defaults(a: Any, b: Any = 2, *, c: Any = 3, d: Any) -> Any:
    """Take these arguments."""


def of_every_kind(a: Any, /, b: Any = 2, *rest: Any, c: Any = 3, **extra: Any) -> Any:
    """Take these arguments."""


def positional_only(a: Any, b: Any, /, **extra: Any) -> Any:
    """Take these arguments."""


BINDABLE: list[Callable[..., Any]] = [
    with_defaults,
    of_every_kind,
    positional_only,
    lambda: None,
    lambda *args: None,
    lambda **options: None,
    partial(with_defaults, 1),
    partial(with_defaults, d=4),
    partial(of_every_kind, "x", z=1),
    Agent().ask,
    Agent.ask,
]

call_arguments = st.tuples(
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d", "rest", "extra", "question", "depth", "z"]), st.integers(0, 9)
    ),
)


def bound_by_inspect(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """Return what `inspect` binds: the named arguments and those of ``**kwargs``, or None for a refusal."""
    signature = inspect.signature(fn)
    try:
        # Asked first: Python 3.13.0's `inspect` binds calls that lack a positional-only argument.
        fn(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    open_names = [p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    named = {name: value for name, value in bound.arguments.items() if name not in open_names}
    return named, {name: value for at in open_names for name, value in bound.arguments[at].items()}


@pytest.mark.parametrize("fn", BINDABLE, ids=named)
@given(call=call_arguments)
def test_binds_as_the_language_does(fn: Callable[..., Any], call: tuple[tuple[int, ...], dict[str, int]]) -> None:
    """Names, defaults and refusals are those of the language, for any call."""
    args, kwargs = call
    assert Binder(fn).bind(args, kwargs) == bound_by_inspect(fn, args, kwargs)


def test_a_function_without_a_signature_takes_anything() -> None:
    """A function without a readable signature is bound as ``(*args, **kwargs)``."""
    binder = Binder(dict)
    assert binder.takes_any_keyword
    assert binder.bind((1, 2), {"a": 3}) == ({"args": (1, 2)}, {"a": 3})


def test_keywords_that_spell_a_positional_only_name_stay_apart() -> None:
    """``f(1, 2, a=3)`` of ``f(a, b, /, **extra)`` has both an argument and an extra named ``a``."""
    assert Binder(positional_only).bind((1, 2), {"a": 3}) == ({"a": 1, "b": 2}, {"a": 3})


@pytest.mark.parametrize(("fn", "names"), [(with_defaults, {"a", "b", "c", "d"}), (of_every_kind, {"a", "b", "c"})])
def test_names_are_those_of_single_arguments(fn: Callable[..., Any], names: set[str]) -> None:
    """``*rest`` and ``**extra`` are parameters, but no names that a call can give."""
    assert Binder(fn).names == names


def one_text(topic: list[str]) -> Any:
    """Take these arguments."""


def two_texts(topic: str, style: str) -> Any:
    """Take these arguments."""


def by_type_alone(history: list[str], user_id: str) -> Any:
    """Take these arguments."""


def open_ended(question: str, **extra: Any) -> Any:
    """Take these arguments."""


def takes(*names: str) -> Callable[..., Any]:
    """Return a function of these arguments, in the language's own notation."""
    function: Callable[..., Any] = eval(f"lambda {', '.join(names)}: 0")  # noqa: S307
    return function


USUAL = "prompt question query input contents text message user_input user_prompt user_message instruction".split()


@pytest.mark.parametrize(
    ("fn", "prompt"),
    [
        *[(takes("model", name, "history"), name) for name in USUAL],
        *[(takes(name, "messages"), "messages") for name in USUAL],
        (takes("*", "history", "text", "model='small'"), "text"),
        (takes("messages", "**options"), "messages"),
        (takes("query", "*rest", "**options"), "query"),
        (takes("self", "topic"), "topic"),
        (takes("cls", "topic"), "topic"),
        (takes("topic=None", "/"), "topic"),
        (takes("*rest", "topic"), "topic"),
        (takes("topic", "**options"), "messages"),
        (takes("topic", "model", "**options"), "messages"),
        (takes("**options"), "messages"),
        (takes("*rest", "**options"), "messages"),
        (takes("self", "**options"), "messages"),
        (plain, "question"),
        (one_text, "topic"),
        (Sync(), "question"),
        (Sync().method, "question"),
        (partial(plain), "question"),
        (dict, "messages"),
    ],
)
def test_the_prompt_is_found_by_its_name(fn: Callable[..., Any], prompt: str) -> None:
    """The prompt is ``messages``, else the only argument of a usual name, else the only argument."""
    assert checked_prompt(fn, Binder(fn), None) == prompt


@pytest.mark.parametrize(
    ("fn", "candidates", "remedy"),
    [
        (by_type_alone, "'history', 'user_id'", "prompt='<name>'"),
        (two_texts, "'topic', 'style'", "prompt='<name>'"),
        (takes("self", "topic", "model='small'"), "'topic', 'model'", "prompt='<name>'"),
        (takes("*", "model", "input", "prompt"), "'input', 'prompt'", "prompt='input' or prompt='prompt'"),
        (takes("prompt", "question", "**options"), "'prompt', 'question'", "prompt='prompt' or prompt='question'"),
        (takes(), "none", "prompt='<name>'"),
        (takes("self"), "none", "prompt='<name>'"),
        (takes("*rest"), "none", "prompt='<name>'"),
    ],
)
def test_a_prompt_that_no_name_tells_is_refused(fn: Callable[..., Any], candidates: str, remedy: str) -> None:
    """If no name tells the prompt, a `TypeError` names the candidates and what to write; types tell nothing."""
    with pytest.raises(TypeError, match=f"candidates are {candidates}; pass {remedy}, or prompt=lambda") as caught:
        checked_prompt(fn, Binder(fn), None)
    assert isinstance(caught.value, SignatureMismatchError)


@pytest.mark.parametrize(
    ("fn", "ignored", "prompt"),
    [
        (takes("client", "topic"), ("client",), "topic"),
        (takes("client", "**options"), ("client",), "messages"),
        (takes("input", "prompt", "model"), ["prompt"], "input"),
        (takes("messages", "text"), {"messages"}, "text"),
    ],
)
def test_an_ignored_argument_carries_no_prompt(fn: Callable[..., Any], ignored: Any, prompt: str) -> None:
    """What does not affect the answer is no candidate."""
    assert checked_prompt(fn, Binder(fn), None, ignored) == prompt


@pytest.mark.parametrize(
    ("fn", "prompt", "ignored"),
    [
        (plain, None, "'question'"),
        (plain, "question", "'question'"),
        (takes("question", "user_id"), None, "'question'"),
        (takes("messages", "**options"), None, "'messages'"),
        (takes("**options"), "question", "'question'"),
    ],
)
def test_the_prompt_cannot_be_ignored(fn: Callable[..., Any], prompt: str | None, ignored: str) -> None:
    """An argument that carries the prompt affects the answer; if it is ignored, no other one takes its place."""
    with pytest.raises(SignatureMismatchError, match=rf"ignore=.* names {ignored}, which carries the prompt; leave it"):
        checked_prompt(fn, Binder(fn), prompt, (ignored.strip("'"),))


def test_a_prompt_may_be_named_or_derived() -> None:
    """``prompt=`` takes a parameter's name, any name if the function has ``**extra``, or a callable."""
    derive = lambda kw: kw["question"]  # noqa: E731  # as users write them
    assert checked_prompt(two_texts, Binder(two_texts), "style") == "style"
    assert checked_prompt(open_ended, Binder(open_ended), "messages") == "messages"
    assert checked_prompt(two_texts, Binder(two_texts), derive) is derive


@pytest.mark.parametrize(
    ("prompt", "error", "told"),
    [
        ("absent", SignatureMismatchError, "prompt='absent'.*two_texts.*'topic', 'style'"),
        ("", SignatureMismatchError, "prompt=''"),
        (7, InvalidTypeError, "prompt=7 is an int"),
        (b"style", InvalidTypeError, "prompt=b'style' is a bytes"),
        (["style"], InvalidTypeError, "is a list"),
    ],
)
def test_a_prompt_that_is_no_argument_is_refused(prompt: Any, error: type[Exception], told: str) -> None:
    """A prompt that is no argument is an error with what was got and what there is."""
    with pytest.raises(error, match=told):
        checked_prompt(two_texts, Binder(two_texts), prompt)


def closing(client: Any) -> Callable[..., Any]:
    """Return a function that closes over `client`."""

    def ask(question: str, timeout: float = 1.0) -> Any:
        return client

    return ask


@pytest.mark.parametrize(
    ("fn", "ignore"),
    [
        (plain, ()),
        (two_texts, ["style"]),
        (closing(1), {"timeout", "client"}),
        (Sync().method, ("self",)),
        (open_ended, ("anything",)),
        (lambda *rest: 0, ("rest",)),
        (partial(closing(1)), ("client",)),
    ],
)
def test_arguments_and_closed_over_variables_may_be_ignored(fn: Callable[..., Any], ignore: Any) -> None:
    """``ignore=`` takes any collection of names of arguments and closed-over variables."""
    assert checked_ignore(fn, Binder(fn), ignore) == frozenset(ignore)


@pytest.mark.parametrize(
    ("ignore", "error", "told"),
    [
        (("absent",), SignatureMismatchError, "ignore=.*'absent'.*two_texts.*'topic', 'style'"),
        (("style", "Style"), SignatureMismatchError, "names 'Style'"),
        ("style", InvalidTypeError, "ignore='style' is not a sequence of names"),
        ((7,), InvalidTypeError, "ignore=\\(7,\\)"),
        (7, InvalidTypeError, "ignore=7"),
        (None, InvalidTypeError, "ignore=None"),
    ],
)
def test_a_name_that_cannot_be_ignored_is_refused(ignore: Any, error: type[Exception], told: str) -> None:
    """A name that is no argument is refused: misspelt, it would make every call a miss in silence."""
    with pytest.raises(error, match=told) as caught:
        checked_ignore(two_texts, Binder(two_texts), ignore)
    assert isinstance(caught.value, RecallmError)


def adapted(inner: Any) -> Any:
    """Return a callable of one mapping that hands each argument on."""

    @functools.wraps(inner)
    def outer(kw: Any) -> Any:
        return inner(**kw)

    return outer


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"user": "ada"},
        "a name",
        lambda kw: kw,
        lambda *anything: anything,
        lambda kw, more=1: more,
        functools.partial(lambda user, kw: user, "ada"),
        adapted(lambda question, user: user),
        operator.itemgetter("user"),
        dict.copy,
        bool,
    ],
)
def test_a_callable_that_can_be_called_as_it_will_be_is_taken(value: Any) -> None:
    """What is no callable, one that takes what it is called with, and one that does not tell are returned."""
    assert fitting(value, "context", "kw") is value


@pytest.mark.parametrize(
    "value", [lambda: 1, lambda question, user: user, lambda *, user: user, partial(lambda user: user, "ada")]
)
def test_a_callable_that_cannot_be_called_so_is_refused(value: Any) -> None:
    """The message says what it takes, what it is called with, and what that holds."""
    with pytest.raises(InvalidTypeError, match=r"is called with \(kw\); use one that takes \(kw\); kw holds all"):
        fitting(value, "context", "kw")
