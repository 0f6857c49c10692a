"""Responses to bytes and back, with their types.

A payload is a version byte, a kind byte and a body, or all that packed (see `recallm.codec.packing`). A text or bytes
is its own body, and what JSON can hold exactly is JSON. Anything else is JSON in which an object of one key that starts
with ``$`` stands for a value of another type. Classes are named, and looked up among those that are loaded: nothing is
imported, and no code of these classes runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from recallm.codec.annotations import return_annotation
from recallm.codec.bounds import TooMuchError, check_json
from recallm.codec.known import KnownClasses
from recallm.codec.packing import PACKED, pack, unpack, unpacked_size
from recallm.codec.reading import Reader
from recallm.codec.refusals import Refusal
from recallm.codec.writing import Writer, is_json, too_deep, unreadable
from recallm.errors import CorruptPayloadError, UnknownTypeError, UnstorableResponseError, contained

SLOW_BYTES = 65_536
"""From which size on JSON may take longer to decode than an event loop should stand still: a millisecond or two."""

_VERSION = b"\x01"
_TEXT, _BYTES, _JSON, _TAGGED = _VERSION + b"s", _VERSION + b"b", _VERSION + b"j", _VERSION + b"t"

_dump = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_load = json.JSONDecoder().decode


class Codec:
    """Turns responses into bytes and back, with their types.

    Args:
        types: classes whose instances may be decoded, and so may those of the classes of their fields. The classes of
            what is encoded are allowed from then on, and so are all data classes in modules that are loaded.
        closed: whether no others than `types` and the classes of their fields may be encoded or decoded.
        process: marks local classes, which other processes cannot know; empty: they are told by their path alone.

    >>> codec = Codec()
    >>> codec.decode(codec.encode({"answer": (1, 2.5, b"three")}))
    {'answer': (1, 2.5, b'three')}
    """

    def __init__(self, types: Iterable[object] = (), *, closed: bool = False, process: str = "") -> None:
        self._known = KnownClasses(closed=closed, process=process)
        for cls in types:
            self._known.declare(cls)

    @classmethod
    def for_function(
        cls,
        fn: Callable[..., object],
        response_type: object = None,
        response_types: Iterable[object] | None = None,
        *,
        process: str = "",
    ) -> Codec:
        """Return a codec that allows what `fn` is annotated to return.

        Args:
            fn: a function, method, partial or callable object, sync or async.
            response_type: a class or type expression to allow as well.
            response_types: classes or type expressions to allow as well, and then no others; None: others too.
            process: see `Codec`.
        """
        types = [return_annotation(fn), response_type, *(response_types or ())]
        return cls(types, closed=response_types is not None, process=process)

    def encode(self, response: object) -> bytes:
        """Return `response` as bytes, and allow the classes in it from now on.

        Raises:
            UnstorableResponseError: it, or something in it, would not come back equal and of its type.
        """
        try:
            if type(response) is str:
                return pack(_TEXT + response.encode("utf-8", "surrogatepass"))
            if type(response) is bytes:
                return pack(_BYTES + response)
            tagged = not is_json(response, 0)
            node = contained(Writer(self._known).node, response, 0) if tagged else response
            body = _dump(node).encode("utf-8", "surrogatepass")
            check_json(body, tagged=tagged)
            return pack((_TAGGED if tagged else _JSON) + body)
        except UnstorableResponseError:
            raise
        except RecursionError:
            raise too_deep() from None
        except Refusal as refusal:
            raise refusal.error() from None
        except TooMuchError as error:
            raise Refusal(type(response), f"with {error}").error() from None
        except Exception as error:  # noqa: BLE001  # reading a value may run code of its class
            raise unreadable(type(response), error).error() from None

    def decode(self, payload: bytes) -> Any:
        """Return a new value equal to the one that was encoded, of the same type.

        Raises:
            UnknownTypeError: it has a class that this process does not know, or that is not allowed.
            CorruptPayloadError: the payload is malformed, of another version, asks for more work than a response is
                worth, or has a class whose fields have changed since.
        """
        if payload[:2] == PACKED:
            payload = _unpacked(payload)
        kind, body = payload[:2], payload[2:]
        if kind == _BYTES:
            return body
        if kind not in (_TEXT, _JSON, _TAGGED):
            raise CorruptPayloadError(
                f"a payload starts with {kind!r}; it must be b'\\x01' and one of b'sbjt'; drop it"
            )
        try:
            text = body.decode("utf-8", "surrogatepass")
            if kind == _TEXT:
                return text
            check_json(body, tagged=kind == _TAGGED)
            return _load(text) if kind == _JSON else contained(Reader(self._known).read, text)
        except UnknownTypeError:
            raise
        except Exception as error:  # noqa: BLE001  # bytes from elsewhere may fail in any way
            raise _corrupt(error) from None


def is_slow(payload: bytes) -> bool:
    """Return whether decoding a payload may take longer than an event loop should stand still."""
    if len(payload) > SLOW_BYTES and payload[:2] in (_JSON, _TAGGED):
        return True
    if payload[:2] != PACKED:
        return False
    return unpacked_size(payload) > SLOW_BYTES and payload[2:3] in b"jt"


def _unpacked(payload: bytes) -> bytes:
    try:
        return unpack(payload)
    except Exception as error:  # noqa: BLE001  # bytes from elsewhere may fail in any way
        raise _corrupt(error) from None


def _corrupt(error: Exception) -> CorruptPayloadError:
    """Return the error of a payload, which names its cause by the type alone: a message may quote the response."""
    return CorruptPayloadError(
        f"the stored bytes do not hold a response this function can return ({type(error).__name__}): they were "
        "changed, ask for too much work, or hold a class whose fields are others now"
    )
