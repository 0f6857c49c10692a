"""The errors that recallm raises, and the category of its warnings.

Every error is a `RecallmError` and also the built-in that fits, so callers may catch either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
Returned = TypeVar("Returned")


def a_kind(value: object) -> str:
    """Return the name of a value's class, for a message.

    >>> a_kind("text"), a_kind(7)
    ('a str', 'an int')
    """
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"


class RecallmError(Exception):
    """Base of all errors that recallm raises."""


class InvalidValueError(RecallmError, ValueError):
    """A setting or a call-time option has a value outside what is allowed."""


class InvalidTypeError(RecallmError, TypeError):
    """A setting or a call-time option has the wrong type."""


class SignatureMismatchError(RecallmError, TypeError, ValueError):
    """An option names an argument that the function does not have, or leaves open which one is meant."""


class MissingContextError(RecallmError, ValueError):
    """A call came without a cache context, which says what its answer depends on."""


class UnknownNameError(RecallmError, LookupError):
    """A storage, cache or URL scheme is not registered."""


class MissingExtraError(RecallmError, ImportError):
    """A feature needs an optional dependency that is not installed."""


class ModelUnavailableError(RecallmError, RuntimeError):
    """The embedding model cannot be loaded."""


class UnusableFileError(RecallmError, OSError):
    """The file of a storage is none that it can use, or cannot be used in the way that was asked for."""


class OddVectorError(RecallmError, ValueError):
    """An embedding is not a finite, non-zero vector of the expected dimension."""


class UnfingerprintableError(RecallmError, TypeError):
    """A value has no canonical form, so calls that carry different ones would share an answer."""


class UnstorableResponseError(RecallmError, TypeError):
    """A response cannot be stored so that a hit would equal it."""


class CorruptPayloadError(RecallmError, ValueError):
    """Stored bytes are not a response this function can return."""


class UnknownTypeError(CorruptPayloadError, LookupError):
    """A stored answer is of a class that this process does not know; others may.

    Args:
        path: the class's dotted path as it was stored; empty: it is no such path.
        of_process: whether it is a local class of another process, which has to make its answers for itself.
    """

    def __init__(self, path: str, *, of_process: bool = False) -> None:
        super().__init__(
            f"a stored answer is a {path or 'class'}, which this process does not know; import its module, or pass "
            "response_type="
        )
        self.path = path
        self.of_process = of_process


class PanicError(RecallmError, RuntimeError):
    """Foreign code ended with an exception that is no `Exception` and ends nothing but that code."""


class NotKeptError(RecallmError, RuntimeError):
    """A storage did not keep what the user told of an answer, so it may be served again."""


class BusyError(RecallmError, RuntimeError):
    """Every worker is stuck in an operation that has outlived its time limit, or none can be started."""


class CircuitOpenError(RecallmError, RuntimeError):
    """A storage or an embedder keeps failing and is skipped for a while."""


class RecallmWarning(UserWarning):
    """Something in the decorated code keeps calls from being cached."""


def as_trouble(error: BaseException) -> Exception:
    """Return what foreign code raised as an exception that is trouble with that code, and ends nothing else."""
    if isinstance(error, Exception):
        return error
    trouble = PanicError(f"foreign code ended with {type(error).__name__}")
    trouble.__cause__ = error
    return trouble


def contained(function: Callable[[*Arguments], Returned], *arguments: *Arguments) -> Returned:
    """Call foreign code that runs in place, and raise what is its own affair as an `Exception`.

    A panic of an extension written in Rust is no `Exception`, nor is a cancellation, which in code that awaits nothing
    is never the caller's.
    """
    try:
        return function(*arguments)
    except Exception:
        raise
    except BaseException as error:
        names = " ".join(kind.__name__.lower() for kind in type(error).__mro__)
        if "panic" in names or "cancelled" in names:
            raise as_trouble(error) from error
        raise
