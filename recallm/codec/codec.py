"""Responses to bytes and back, with their types.

A payload is a version byte, a kind byte and a body. A text or bytes is its own body, and what JSON can
hold exactly is JSON. Anything else is JSON in which an object of one key that starts with ``$`` stands
for a value of another type. Classes are named, and looked up among those that the codec allows: nothing
is imported, and no code of these classes runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from enum import Enum, Flag
from itertools import accumulate
from math import isnan
from typing import Any

from recallm.codec.annotations import classes_in, return_annotation
from recallm.codec.builtin_types import TYPES_BY_CLASS, TYPES_BY_TAG, Parts, unstorable
from recallm.codec.classes import ClassCodec, class_codec
from recallm.errors import CorruptPayloadError, UnstorableResponseError

MAX_DEPTH = 200
"""How many values may lie inside each other: more of them could exhaust the stack."""

_VERSION = b"\x01"
_TEXT, _BYTES, _JSON, _TAGGED = _VERSION + b"s", _VERSION + b"b", _VERSION + b"j", _VERSION + b"t"
# Python may be told to read and write no more than 640 digits of an integer; this has 155.
_LONG = 1 << 512
# An instance takes three levels of JSON: its tag, its parts and its fields.
_MAX_JSON_DEPTH = 3 * MAX_DEPTH + 3
_NO_BRACKETS = bytes(set(range(256)).difference(b"[]{}"))
_STEPS = dict(zip(b"[]{}", (1, -1, 1, -1), strict=True))

_dump = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_load = json.JSONDecoder().decode


class Codec:
    """Turns responses into bytes and back, with their types. Only allowed classes are restored.

    Args:
        types: classes whose instances may be decoded, and so may those of the classes of their fields. The
            classes of what is encoded are allowed from then on.

    >>> codec = Codec()
    >>> codec.decode(codec.encode({"answer": (1, 2.5, b"three")}))
    {'answer': (1, 2.5, b'three')}
    """

    def __init__(self, types: Iterable[type] = ()) -> None:
        self._enums: dict[str, type[Enum]] = {}
        self._classes: dict[str, ClassCodec] = {}
        self._load_tagged = json.JSONDecoder(object_hook=self._revived).decode
        for cls in types:
            self._allow_all(cls)

    @classmethod
    def for_function(cls, fn: Callable[..., object], response_type: object = None) -> Codec:
        """Return a codec that allows what `fn` is annotated to return.

        Args:
            fn: a function, method, partial or callable object, sync or async.
            response_type: a class or type expression to allow as well.
        """
        codec = cls()
        codec._allow_all(return_annotation(fn))
        codec._allow_all(response_type)
        return codec

    def encode(self, response: object) -> bytes:
        """Return `response` as bytes, and allow the classes in it from now on.

        Raises:
            UnstorableResponseError: it, or something in it, would not come back equal and of its type.
        """
        try:
            if type(response) is str:
                return _TEXT + response.encode("utf-8", "surrogatepass")
            if type(response) is bytes:
                return _BYTES + response
            kind, node = (_JSON, response) if _is_json(response, 0) else (_TAGGED, self._node(response, 0))
            return kind + _dump(node).encode("utf-8", "surrogatepass")
        except UnstorableResponseError:
            raise
        except RecursionError:
            raise _too_deep() from None
        except Exception as error:  # noqa: BLE001  # reading a value may run code of its class
            raise unstorable(type(response), f" ({type(error).__name__} while it was read)") from None

    def decode(self, payload: bytes) -> Any:
        """Return a new value equal to the one that was encoded, of the same type.

        Raises:
            CorruptPayloadError: the payload is malformed, of another version, or has a class that is not
                allowed or whose fields have changed since.
        """
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
            _check_depth(body)
            return _load(text) if kind == _JSON else self._load_tagged(text)
        except Exception as error:  # noqa: BLE001  # bytes from elsewhere may fail in any way
            # The error is named by its type alone: its message may quote the response.
            raise CorruptPayloadError(
                f"the stored bytes do not hold a response this function can return ({type(error).__name__}); the "
                "classes it may hold come from the return annotation, from response_type= and from what this "
                "process has stored"
            ) from None

    def _allow_all(self, annotation: object) -> None:
        for cls in classes_in(annotation):
            if issubclass(cls, Enum):
                self._enums[_path(cls)] = cls
            elif (codec := class_codec(cls)) is not None:
                self._classes[_path(cls)] = codec

    def _node(self, value: Any, depth: int) -> Any:
        """Return the JSON for a value: the value itself if JSON can hold it exactly, else its parts under a tag."""
        if depth > MAX_DEPTH:
            raise _too_deep()
        cls = type(value)
        if _is_json_scalar(value):
            return value
        if cls is list:
            return [self._node(item, depth + 1) for item in value]
        if cls is dict and _has_text_keys(value) and not _looks_tagged(value):
            return {key: self._node(item, depth + 1) for key, item in value.items()}
        if (codec := TYPES_BY_CLASS.get(cls)) is not None:
            return {codec.tag: self._node(codec.to_parts(value), depth)}
        if issubclass(cls, Enum):
            self._enums[_path(cls)] = cls
            return {"$e": self._member_parts(value, depth)}
        return {"$o": self._instance_parts(value, depth)}

    def _instance_parts(self, value: Any, depth: int) -> Parts:
        cls = type(value)
        path = _path(cls)
        codec = self._classes.get(path)
        if codec is None or codec.cls is not cls:
            codec = class_codec(cls)
            if codec is None:
                raise unstorable(cls)
            self._classes[path] = codec
        values, rest = codec.to_parts(value)
        parts = [path, self._node(values, depth)]
        return [*parts, self._node(rest, depth)] if rest else parts

    def _member_parts(self, member: Enum, depth: int) -> Parts:
        parts = [_path(type(member)), member.name]
        try:
            return [*parts, self._node(member.value, depth + 1)]
        except UnstorableResponseError:
            return parts

    def _revived(self, found: dict[str, Any]) -> Any:
        """Return the value that a JSON object stands for; the values in it have been revived before."""
        if len(found) != 1:
            return found
        ((tag, parts),) = found.items()
        if not tag.startswith("$"):
            return found
        if tag == "$o":
            return self._instance(*parts)
        if tag == "$e":
            return self._member(*parts)
        codec = TYPES_BY_TAG[tag]
        if type(parts) is not codec.parts_type:
            raise TypeError(f"{tag} has parts of another type")
        return codec.from_parts(parts)

    def _instance(self, path: str, values: dict[str, Any], rest: dict[str, Any] | None = None) -> Any:
        return self._classes[path].from_parts(values, rest or {})

    def _member(self, path: str, name: str | None, *value: Any) -> Enum:
        cls = self._enums[path]
        member = cls(*value) if issubclass(cls, Flag) else cls[name or ""]
        if type(member) is not cls or member.name != name:
            raise ValueError("the enum has no such member")
        if value and (type(member.value) is not type(value[0]) or member.value != value[0]):
            raise ValueError("the member has another value")
        return member


def _is_json(value: Any, depth: int) -> bool:
    cls = type(value)
    if cls is not list and cls is not dict:
        return _is_json_scalar(value)
    if depth > MAX_DEPTH:
        return False
    # Loops, as all() of a generator takes twice the time.
    for item in value if cls is list else value.values():
        if not _is_json(item, depth + 1):
            return False
    return cls is list or _has_text_keys(value)


def _is_json_scalar(value: Any) -> bool:
    cls = type(value)
    if cls is str or cls is bool or value is None:
        return True
    if cls is int:
        return bool(-_LONG < value < _LONG)
    return cls is float and not isnan(value)


def _has_text_keys(value: dict[Any, Any]) -> bool:
    for key in value:  # noqa: SIM110  # see above
        if type(key) is not str:
            return False
    return True


def _looks_tagged(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _too_deep() -> UnstorableResponseError:
    return UnstorableResponseError(
        f"a response nested deeper than {MAX_DEPTH} levels, or in itself, cannot be stored; "
        "return a flatter one, or leave such responses out with store_if="
    )


def _check_depth(text: bytes) -> None:
    """Raise if JSON is so deep that parsing it, or using the result, could exhaust the stack."""
    if text.count(b"[") + text.count(b"{") <= _MAX_JSON_DEPTH:
        return
    outside_texts = text.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2]
    brackets = b"".join(outside_texts).translate(None, _NO_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > _MAX_JSON_DEPTH:
        raise ValueError("JSON nested too deep")
