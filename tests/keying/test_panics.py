"""Panics of foreign code, such as those of Rust extensions, are doubt; what is meant for the caller passes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from enum import Enum
from types import ModuleType
from typing import Any, NoReturn

import pytest
from keying.making import keyer, outcome
from support.interrupting import each_point

from recallm.codec import Codec
from recallm.codec.annotations import return_annotation
from recallm.errors import CorruptPayloadError, PanicError, UnstorableResponseError
from recallm.keying.completeness import is_complete
from recallm.keying.keyer import Request, fixed_forms
from recallm.keying.responses import is_stream, total_tokens
from recallm.records import Failure


class PanicException(BaseException):
    """What pyo3 raises for a panic."""


class Stopped(BaseException):
    """What a signal handler of the program's raises."""


PASSING = [KeyboardInterrupt, SystemExit, GeneratorExit, Stopped]

Error = type[BaseException]


def ask(question: str, thing: Any = None) -> Any:
    """Take these arguments."""


def raising(error: Error) -> Callable[..., NoReturn]:
    """Return a callable that raises an error."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise error("no")

    return fail


def call_with_context(error: Error) -> object:
    """Return what a call whose context= raises asks for."""
    return outcome(keyer(ask, context=raising(error)), "q")


def call_with_namespace(error: Error) -> object:
    """Return what a call whose namespace= raises asks for."""
    return outcome(keyer(ask, namespace=raising(error)), "q")


def call_with_prompt(error: Error) -> object:
    """Return what a call whose prompt= raises asks for."""
    return outcome(keyer(ask, prompt=raising(error)), "q")


def call_with_an_enum_that_is_asked(error: Error) -> object:
    """Return what a call with a role that raises asks for."""

    class Role(Enum):
        USER = "user"
        value = property(raising(error))

    return outcome(keyer(ask, prompt="question"), [{"role": Role.USER, "content": "a"}])


def call_with_a_class_that_is_asked(error: Error) -> object:
    """Return what a call with a context that raises asks for."""
    thing = type("Asked", (), {"__class__": property(raising(error))})()
    return outcome(keyer(ask), "q", [thing], cache_context=thing)


def bind_with_a_signature(error: Error) -> object:
    """Return what a call of a function whose signature raises asks for."""
    reader = keyer(ask)
    vars(ask)["__signature__"] = type("Odd", (), {"__class__": property(raising(error))})()
    try:
        return outcome(reader, "q", 1, 2)
    finally:
        del vars(ask)["__signature__"]


KEYING = [
    call_with_context,
    call_with_namespace,
    call_with_prompt,
    call_with_an_enum_that_is_asked,
    call_with_a_class_that_is_asked,
    bind_with_a_signature,
]


@pytest.mark.parametrize("call", KEYING)
def test_a_panic_while_a_call_is_read_is_a_failure(call: Callable[[Error], object]) -> None:
    """A panic of a user's callable or value makes the call a failure of keying, which goes on uncached."""
    found = call(PanicException)
    assert isinstance(found, Failure), found
    assert (found.stage, type(found.error)) == ("keying", PanicError)


@pytest.mark.parametrize("error", PASSING)
@pytest.mark.parametrize("call", KEYING)
def test_what_is_meant_for_the_caller_passes(call: Callable[[Error], object], error: Error) -> None:
    """Interrupts, exits, cancellations and the exceptions of signal handlers are no trouble of the cache's."""
    with pytest.raises(error):
        call(error)


class DeadlineError(Exception):
    """What a signal handler raises when time is up."""


def strike(*_: object) -> NoReturn:
    """Have a signal arrive, whose handler says that time is up."""
    signal.raise_signal(signal.SIGUSR1)
    raise AssertionError("the handler raises")


@pytest.fixture
def deadline() -> Iterator[None]:
    """Have a handler raise when a signal arrives."""

    def time_is_up(*_: object) -> NoReturn:
        raise DeadlineError

    before = signal.signal(signal.SIGUSR1, time_is_up)
    yield
    signal.signal(signal.SIGUSR1, before)


def call_with_stream(error: Any) -> object:
    """Return what a call with a stream argument whose truth raises asks for."""

    def stream(question: str, stream: Any = False) -> Any:
        """Take these arguments."""

    return outcome(keyer(stream), "q", stream=type("Odd", (), {"__bool__": raising(error)})())


def call_with_skip_if(error: Any) -> object:
    """Return what a call whose skip_if= raises asks for."""
    return outcome(keyer(ask, skip_if=raising(error)), "q")


@pytest.mark.usefixtures("deadline")
@pytest.mark.parametrize("call", [*KEYING, call_with_stream, call_with_skip_if])
def test_a_signal_handler_s_exception_while_a_call_is_read_passes(call: Callable[[Any], object]) -> None:
    """A deadline that a signal handler raises while the user's code is asked for a key is nobody's but the caller's."""
    with pytest.raises(DeadlineError):
        call(strike)


@pytest.mark.usefixtures("deadline")
def test_a_signal_handler_s_exception_while_a_call_is_described_passes() -> None:
    """A deadline that strikes anywhere while the parts of a call are told apart is not taken for a part's trouble."""
    reader = keyer(ask)
    request: Any = outcome(reader, "q", cache_context={"user": ["a", 1], "limits": {"b": 2.0}})
    described: list[object] = []

    def work() -> None:
        with suppress(DeadlineError):
            described.append(reader.described(request))

    struck = [where for where, _ in each_point(lambda: work, ("recallm/keying/",), strike)]
    assert len(struck) > 10
    assert len(described) == 1  # after the last point


class Truthless:
    """An argument whose truth raises."""

    def __init__(self, error: Error) -> None:
        self.error = error

    def __bool__(self) -> bool:
        raise self.error


def test_a_stream_argument_that_panics_counts_as_true() -> None:
    """What does not say whether it is true is a bypass, as any other stream is."""

    def stream(question: str, stream: Any = False) -> Any:
        """Take these arguments."""

    found: Any = outcome(keyer(stream), "q", stream=Truthless(PanicException))
    assert found.reason == "stream"
    with pytest.raises(KeyboardInterrupt):
        outcome(keyer(stream), "q", stream=Truthless(KeyboardInterrupt))


def test_a_default_that_panics_is_read_at_each_call() -> None:
    """A default value that cannot be read at decoration is no reason to fail there."""

    class Odd(str):
        __slots__ = ()

    class Panicking:
        form = staticmethod(raising(PanicException))

    assert fixed_forms({"thing": Odd("a")}, Panicking) == {}  # type: ignore[arg-type]  # as far as it is read
    assert isinstance(outcome(keyer(ask), "q"), Request)


def asked_what_it_is(error: Error) -> Any:
    """Return a response that raises when it is asked what it is."""
    return type("Odd", (), {"__class__": property(raising(error))})()


@pytest.mark.parametrize("error", [PanicException, RuntimeError])
def test_a_response_that_raises_when_it_is_asked_is_not_kept(error: Error) -> None:
    """Whoever does not say what they are may be a stream; they report no tokens, and are of no known shape."""
    odd = asked_what_it_is(error)
    assert is_stream(odd)
    assert total_tokens(odd) == 0
    assert is_complete(odd)


@pytest.mark.parametrize("error", PASSING)
def test_what_a_response_raises_for_the_caller_passes(error: Error) -> None:
    """An interrupt that comes while a response is looked at is not taken for its fault."""
    with pytest.raises(error):
        is_stream(asked_what_it_is(error))


def unstorable(error: Error) -> Any:
    """Return a response that holds a moment in a zone whose rules raise."""
    zone = type("Zone", (tzinfo,), {"utcoffset": raising(error)})()
    return [datetime.now(UTC).replace(tzinfo=zone)]


def test_a_panic_while_a_response_is_taken_apart_makes_it_unstorable() -> None:
    """A response whose own code panics is not stored; interrupts pass."""
    with pytest.raises(UnstorableResponseError):
        Codec().encode(unstorable(PanicException))
    for error in PASSING:
        with pytest.raises(error):
            Codec().encode(unstorable(error))


def test_a_panic_while_a_response_is_put_together_makes_it_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored answer whose class panics is dropped like any other that cannot be made; interrupts pass."""
    library = ModuleType("yarl")
    monkeypatch.setitem(sys.modules, "yarl", library)
    payload = b'\x01t{"$x":["yarl.URL","a"]}'
    for error, seen in [(PanicException, CorruptPayloadError), *((each, each) for each in PASSING)]:
        vars(library)["URL"] = type("URL", (), {"__module__": "yarl", "__new__": raising(error)})
        with pytest.raises(seen):
            Codec().decode(payload)


def test_an_annotation_that_panics_is_unknown() -> None:
    """What a function returns is unknown if its annotation cannot be evaluated."""

    def odd() -> Any:
        """Answer."""

    for error in (PanicException, RuntimeError):
        odd.__globals__["panicking"] = raising(error)
        odd.__annotations__["return"] = "panicking()"
        assert return_annotation(odd) is None
    del odd.__globals__["panicking"]
