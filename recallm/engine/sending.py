"""Sending caches and cached functions to other processes.

Pickle sends a function by its name. cloudpickle, and what vendors it (joblib, Ray, Dask, Spark), sends one that no name
stands for in the receiver, such as a script's own. A cached function then is made again there, of the function and its
options. What belongs to this process stays: entries kept in its memory, a loaded model, threads, statistics. Whatever
comes again and again, as with each batch of tasks, becomes one object in the receiver.
"""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from recallm.storage.base import StorageBackend
from recallm.storage.memory import InMemoryStorage

if TYPE_CHECKING:
    from recallm.keying.tokens import Tokens
    from recallm.typing import EmbedderLike

MAX_RECEIVED = 64
"""How many of the objects that came from other processes are kept for the next time they come."""

Parts = tuple[bytes, "StorageBackend | str", bytes, "EmbedderLike | None"]
"""A storage and an embedder, each after its token."""

_known: WeakValueDictionary[bytes, Any] = WeakValueDictionary()
"""What was sent or received, by token."""

_received: OrderedDict[bytes, Any] = OrderedDict()
"""What was received lately, which nobody else may hold until it comes again."""


class Sendable:
    """A wrapper of a function that cloudpickle asks how to send it, rather than send the wrapped function alone."""

    __slots__ = ()

    @property  # type: ignore[misc]  # it cannot be set
    def __class__(self) -> Any:
        """The class of what is wrapped; to who decides how to send a function, the wrapper's own."""
        if sys._getframe(1).f_code.co_name == "reducer_override":
            return type(self)
        wrapper: Any = self
        return wrapper.__wrapped__.__class__


def asking() -> Mapping[str, Any]:
    """Return the variables of the module that asks the calling method how to send its object."""
    return sys._getframe(2).f_globals


def goes_by_name(value: Any, asker: Mapping[str, Any]) -> bool:
    """Return whether an object that passes for a function is sent by its name; `asker` is what `asking` returned."""
    by_reference: Callable[[Any], bool] | None = asker.get("_should_pickle_by_reference")
    if by_reference is None:
        return True
    try:
        return by_reference(value)
    except TypeError:  # it is a callable object, which passes for none
        return False


def home(method: Any) -> Any:
    """Return the class that a function is in, by its name; None: there is none."""
    found: Any = sys.modules.get(method.__module__)
    for name in method.__qualname__.split(".")[:-1]:
        found = getattr(found, name, None)
    return found


def same(value: Any) -> Any:
    """Return an object; another one is sent as this call."""
    return value


def made(cls: type, state: tuple[Any, ...]) -> Any:
    """Return an object as it arrives in the receiver."""
    instance = unmade(cls)
    arrive(instance, state)
    return instance


def unmade(cls: Any) -> Any:
    """Return an object that is yet to `arrive`: what it is made of may refer to it."""
    return cls.__new__(cls)


def arrive(instance: Any, state: tuple[Any, ...]) -> None:
    """Make an object of what it is sent with."""
    type(instance)._arrive(instance, *state)


def received(token: bytes, make: Callable[..., Any], *arguments: Any) -> Any:
    """Return the object that came with a token first, or was sent with it from here; else make it."""
    found = _known.get(token, _received.get(token))
    if found is None:
        found = make(*arguments)
        _know(token, found)
    _received[token] = found
    _received.move_to_end(token)
    if len(_received) > MAX_RECEIVED:
        _received.popitem(last=False)
    return found


def sent(value: Any, tokens: Tokens) -> bytes:
    """Return the token with which an object is sent; if it comes back to this process, it is this very object."""
    token = tokens.of(value)
    _know(token, value)
    return token


def _know(token: bytes, value: Any) -> None:
    with suppress(TypeError):  # it takes no weak reference
        _known[token] = value


def sendable_parts(
    cache: str, storage: StorageBackend | str, embedder: EmbedderLike | None, tokens: Tokens, asker: Mapping[str, Any]
) -> Parts:
    """Return the storage and the embedder of a cache as they are sent: those in this process's memory without content.

    Raises:
        PicklingError: one of them cannot be sent.
    """
    dumps = asker["dumps"] if "_should_pickle_by_reference" in asker else pickle.dumps
    storage_token = b"" if isinstance(storage, str) else sent(storage, tokens)
    embedder_token = b"" if embedder is None else sent(embedder, tokens)
    if isinstance(storage, InMemoryStorage):
        bound = "" if storage.max_entries is None else f"?max_entries={storage.max_entries}"
        storage = f"memory://{storage_token.hex()}{bound}"
    _require_sendable(storage, f"the storage of the cache {cache!r}; give it by its URL, or by a name", dumps)
    _require_sendable(embedder, f"the embedder of the cache {cache!r}; give it a __reduce__ method", dumps)
    return storage_token, storage, embedder_token, embedder


def received_parts(parts: Parts) -> tuple[StorageBackend | str, EmbedderLike | None]:
    """Return the storage and the embedder of a cache that was received: each object once, however often it comes."""
    storage_token, storage, embedder_token, embedder = parts
    if not isinstance(storage, str):
        storage = received(storage_token, lambda: storage)
    return storage, None if embedder is None else received(embedder_token, lambda: embedder)


def _require_sendable(value: object, what: str, dumps: Callable[[object], bytes]) -> None:
    try:
        dumps(value)
    except Exception as error:
        raise pickle.PicklingError(f"cannot send {what} ({type(error).__name__}: {error})") from error
