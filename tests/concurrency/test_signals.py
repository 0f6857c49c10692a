"""An exception that a signal handler raises is told from one of the code that it interrupts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from recallm.concurrency.signals import interruption_behind


class Alarm:
    """A handler in the shapes in which programs give one."""

    def method(self, *_: object) -> None:
        """Raise."""
        raise TimeoutError

    def __call__(self, *_: object) -> None:
        """Raise."""
        self.method()


def function(*_: object) -> None:
    """Raise."""
    raise TimeoutError


SHAPES: dict[str, Callable[..., Any]] = {
    "function": function,
    "method": Alarm().method,
    "object": Alarm(),
    "partial": partial(partial(function, 1), 2),
}


@pytest.fixture
def handling() -> Iterator[Callable[[Any], object]]:
    """Yield what installs a handler for a while."""
    before = signal.getsignal(signal.SIGUSR2)
    yield lambda handler: signal.signal(signal.SIGUSR2, handler)
    signal.signal(signal.SIGUSR2, before)


def raised_by(work: Callable[[], object]) -> Exception:
    """Return what the work raises."""
    with pytest.raises(TimeoutError) as raised:
        work()
    return raised.value


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_handler_raises_is_its_own(shape: str, handling: Callable[[Any], object]) -> None:
    """Whatever a handler is, its exception is recognised by the frames that it came through."""
    handling(SHAPES[shape])
    error = raised_by(lambda: signal.raise_signal(signal.SIGUSR2))
    assert interruption_behind(error) is error


def test_a_handlers_exception_is_found_behind_another(handling: Callable[[Any], object]) -> None:
    """Code that makes an exception of its own of whatever interrupts it does not hide the handler's."""

    def translating() -> None:
        try:
            signal.raise_signal(signal.SIGUSR2)
        except TimeoutError as error:
            raise TimeoutError("could not be read") from error

    handling(function)
    error = raised_by(translating)
    assert interruption_behind(error) is error.__cause__ is not None


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, Alarm().method, lambda *_: None])
def test_what_other_code_raises_is_not(handler: Any, handling: Callable[[Any], object]) -> None:
    """The same kind of exception from elsewhere is not taken for a handler's."""
    handling(handler)
    assert interruption_behind(raised_by(function)) is None


def test_other_threads_run_no_handlers(handling: Callable[[Any], object]) -> None:
    """In other threads than the main one, even the handler's own code is nothing but a function."""
    handling(function)
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(raised_by, function).result()
        assert pool.submit(interruption_behind, error).result() is None
