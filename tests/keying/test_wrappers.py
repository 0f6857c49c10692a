"""Wrappers: which hand on what the function under them returns, and which make something else of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any

import anyio.from_thread
import pytest
import wrapt

from recallm.errors import InvalidTypeError
from recallm.keying.signature import call_kind, chosen_call_kind, own_call_kind, unwrap_function, where_defined

Fn = Callable[..., Any]


async def answer(question: str, style: str = "") -> str:
    """Answer."""
    return f"{question}{style}"


def plain(question: str, style: str = "") -> str:
    """Answer."""
    return f"{question}{style}"


async def words(question: str) -> Any:
    """Yield."""
    yield question


def note(*_: object) -> None:
    """Stand for a log."""


def with_required(fn: Fn) -> Fn:
    """Check the arguments first, in a loop, as SDKs do."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for each in ("question", "text"):
            if args or each in kwargs:
                break
        else:
            raise TypeError(f"Missing {', '.join(each for each in ('question', 'text'))}")
        return fn(*args, **kwargs)

    return wrapper


def with_arguments(fn: Fn) -> Fn:
    """Hand on arguments one by one, made of other calls."""

    @wraps(fn)
    def wrapper(question: str, style: str = "") -> Any:
        return fn(str(question).strip(), style=str(style))

    return wrapper


def with_variable(fn: Fn) -> Fn:
    """Keep the result in a variable, and look at it."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            result = fn(*args, **kwargs)
        except ValueError:
            note("trouble")
            raise
        note(args)
        return result

    return wrapper


def with_two_returns(fn: Fn) -> Fn:
    """Call in one of two ways."""

    @wraps(fn)
    def wrapper(question: str) -> Any:
        if not question:
            return fn("?")
        return fn(question)

    return wrapper


def of_method(fn: Fn) -> Fn:
    """Stand in a class."""

    @wraps(fn)
    def wrapper(self: Any, question: str) -> Any:
        return fn(self, question)

    return wrapper


@wraps(answer)
def of_global(question: str) -> Any:
    """Call a function of the module."""
    return answer(question)


@wrapt.decorator
def through_wrapt(wrapped: Fn, instance: Any, args: Any, kwargs: Any) -> Any:
    """Call the function."""
    return wrapped(*args, **kwargs)


@wrapt.decorator
async def awaiting_through_wrapt(wrapped: Fn, instance: Any, args: Any, kwargs: Any) -> Any:
    """Await the function."""
    return await wrapped(*args, **kwargs)


class Timed:
    """A callable object that wraps a function."""

    def __init__(self, fn: Fn) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.fn(*args, **kwargs)


class Sdk:
    """A class whose methods are wrapped."""

    @of_method
    async def ask(self, question: str) -> str:
        """Answer."""
        return question


HANDING_ON = {
    "required": with_required(answer),
    "arguments": with_arguments(answer),
    "variable": with_variable(answer),
    "two returns": with_two_returns(answer),
    "global": of_global,
    "nested": with_required(with_variable(with_arguments(answer))),
    "of a partial": with_required(partial(answer, style="!")),
    "partial of": partial(with_required(answer), style="!"),
    "static method": staticmethod(with_required(answer)),
    "bound method": Sdk().ask,
    "of a bound method": with_required(Sdk().ask),
    "object": Timed(answer),
    "lru_cache": functools.lru_cache(answer),
    "wrapt": through_wrapt(answer),
    "wrapt of a wrapper": through_wrapt(with_required(answer)),
    "async wrapt of a wrapper": awaiting_through_wrapt(with_required(answer)),
    "wrapper of wrapt": with_required(through_wrapt(answer)),
}


@pytest.mark.parametrize("fn", HANDING_ON.values(), ids=HANDING_ON)
def test_a_wrapper_that_hands_on_a_coroutine_is_async(fn: Fn) -> None:
    """A sync wrapper is async if it returns the coroutine of the function that it wraps."""
    assert call_kind(fn) == "async"
    returned = fn("why?")
    assert inspect.iscoroutine(returned)
    assert asyncio.run(returned).startswith("why?")


@pytest.mark.parametrize("fn", HANDING_ON.values(), ids=HANDING_ON)
def test_the_mode_sync_refuses_a_wrapper_that_hands_on_a_coroutine(fn: Fn) -> None:
    """The mode ``"sync"`` does not fit what is async under a wrapper, either."""
    with pytest.raises(InvalidTypeError, match=r"'sync'.*'auto' or 'async'"):
        chosen_call_kind(fn, "sync")


def wrapper_of(body: Callable[[Fn, Any, Any], Any], wrapped: Fn = answer) -> Fn:
    """Return a wrapper that hands its function and its arguments to `body`."""

    @wraps(wrapped)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return body(wrapped, args, kwargs)

    return wrapper


def run_inside(fn: Fn) -> Fn:
    """Run the function in a loop of its own."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(fn(*args, **kwargs))

    return wrapper


def run_in_variable(fn: Fn) -> Fn:
    """Run the function, and keep what it gives where its coroutine was."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = fn(*args, **kwargs)
        if inspect.isawaitable(result):
            result = asyncio.run(result)  # type: ignore[arg-type]
        return result

    return wrapper


def run_by_loop(fn: Fn) -> Fn:
    """Run the function in a loop that is made for it."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(fn(*args, **kwargs))
        finally:
            loop.close()

    return wrapper


def run_in_runner(fn: Fn) -> Fn:
    """Run the function in a runner."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with asyncio.Runner() as runner:
            return runner.run(fn(*args, **kwargs))

    return wrapper


def run_in_portal(fn: Fn) -> Fn:
    """Run the function in a loop of another thread, as ``anyio.from_thread`` does."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with anyio.from_thread.start_blocking_portal() as portal:
            return portal.call(partial(fn, *args, **kwargs))

    return wrapper


def run_threadsafe(fn: Fn) -> Fn:
    """Run the function in a loop of another thread."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            return asyncio.run_coroutine_threadsafe(fn(*args, **kwargs), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    return wrapper


def run_in_thread(fn: Fn) -> Fn:
    """Run the function in a thread."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, fn(*args, **kwargs)).result()

    return wrapper


def run_by_steps(fn: Fn) -> Fn:
    """Run a coroutine that waits for nothing, as greenlets do."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        coroutine: Coroutine[Any, Any, Any] = fn(*args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value

    return wrapper


def run_if_sync(fn: Fn) -> Fn:
    """Run the function unless a loop is running."""

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            return fn(*args, **kwargs)
        return asyncio.run(fn(*args, **kwargs))

    return wrapper


def run_rebound(fn: Fn) -> Fn:
    """Put a sync function where the wrapped one was, when it is called."""
    wrapped = fn

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal wrapped
        wrapped = run_inside(fn)
        return wrapped(*args, **kwargs)

    return wrapper


class ToSync:
    """A callable object that runs an async function, as ``async_to_sync`` makes it."""

    def __init__(self, fn: Fn) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function to its end."""
        return asyncio.run(self.fn(*args, **kwargs))


RUNNING = {
    "run": run_inside(answer),
    "variable": run_in_variable(answer),
    "loop": run_by_loop(answer),
    "runner": run_in_runner(answer),
    "portal": run_in_portal(answer),
    "threadsafe": run_threadsafe(answer),
    "thread": run_in_thread(answer),
    "steps": run_by_steps(answer),
    "if sync": run_if_sync(answer),
    "rebound": run_rebound(answer),
    "object": ToSync(answer),
    "helper": wrapper_of(lambda fn, args, kwargs: asyncio.run(fn(*args, **kwargs))),
    "over a wrapper": run_inside(with_required(answer)),
    "under a wrapper": with_required(run_inside(answer)),
    "under an object": Timed(run_inside(answer)),
    "under lru_cache": functools.lru_cache(run_inside(answer)),
    "partial of": partial(run_inside(answer), style="!"),
}


@pytest.mark.parametrize("fn", RUNNING.values(), ids=RUNNING)
def test_a_wrapper_that_runs_an_async_function_is_sync(fn: Fn) -> None:
    """A wrapper that runs an async function to its end is called, never awaited, by whoever uses it."""
    assert call_kind(fn) == chosen_call_kind(fn, "auto") == chosen_call_kind(fn, "sync") == "sync"
    assert fn("why?").startswith("why?")


@wraps(plain)
async def in_thread(*args: Any, **kwargs: Any) -> Any:
    """Make an async function of a sync one."""
    return await asyncio.to_thread(plain, *args, **kwargs)


@wraps(answer)
def yielding(*args: Any, **kwargs: Any) -> Any:
    """Make a generator of an async function."""
    yield answer(*args, **kwargs)


def other_than_wrapped(fn: Fn) -> Fn:
    """Call another function than the one that it claims to wrap."""
    inner = SimpleNamespace(call=fn)

    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return inner.call(*args, **kwargs)

    return wrapper


def maybe_nothing(fn: Fn) -> Fn:
    """Return nothing for some calls."""

    @wraps(fn)
    def wrapper(question: str) -> Any:
        if question:
            return fn(question)
        return None

    return wrapper


def of_its_result(fn: Fn) -> Fn:
    """Call a method of the result."""

    @wraps(fn)
    def wrapper(question: str) -> Any:
        return fn(question).close()

    return wrapper


def with_branches(fn: Fn) -> Fn:
    """Choose an argument, or another result, within the return."""

    @wraps(fn)
    def wrapper(question: str) -> Any:
        return (question and fn(question)) or plain(question)

    return wrapper


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (in_thread, "async"),
        (yielding, "generator"),
        (with_required(in_thread), "async"),
        (with_required(words), "generator"),
        (with_required(plain), "sync"),
        (functools.lru_cache(plain), "sync"),
        (functools.singledispatch(answer), "sync"),
        (other_than_wrapped(answer), "sync"),
        (maybe_nothing(answer), "sync"),
        (of_its_result(answer), "sync"),
        (with_branches(answer), "sync"),
        (wrapper_of(lambda fn, args, kwargs: fn(*args, **kwargs)), "sync"),
        (through_wrapt(plain), "sync"),
        (through_wrapt(run_inside(answer)), "sync"),
    ],
)
def test_what_is_not_understood_is_as_its_own_code_is(fn: Fn, kind: str) -> None:
    """A wrapper that is async or a generator is that, and one whose code shows nothing is sync."""
    assert call_kind(fn) == kind


def test_the_mode_async_awaits_whatever_a_sync_wrapper_returns() -> None:
    """Whoever asks for an async function gets one, also of a sync wrapper of a generator."""
    assert own_call_kind(with_required(answer)) == own_call_kind(with_required(words)) == "sync"
    assert chosen_call_kind(with_required(answer), "async") == "async"
    assert chosen_call_kind(with_required(words), "async") == "async"


@pytest.mark.parametrize("fn", [*HANDING_ON.values(), *RUNNING.values()], ids=[*HANDING_ON, *RUNNING])
def test_a_wrapped_function_is_defined_where_its_own_code_is(fn: Fn) -> None:
    """One-time warnings point at the function, not at a wrapper."""
    bottom = unwrap_function(fn, through_wrappers=True)
    line = (answer if bottom is answer else Sdk.ask.__wrapped__).__code__.co_firstlineno  # type: ignore[attr-defined]
    assert where_defined(fn) == (__file__, line)
