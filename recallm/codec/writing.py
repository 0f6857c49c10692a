"""From a value to JSON in which objects of one key that starts with ``$`` stand for values of other types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from math import isnan
from typing import Any, get_args, get_origin

from recallm.codec.bounds import MAX_DEPTH, TooMuchError, Work
from recallm.codec.builtin_types import BUILTINS, TYPES_BY_CLASS, Parts, TypeCodec
from recallm.codec.classes import GENERIC, ClassCodec, Values
from recallm.codec.known import KnownClasses
from recallm.codec.library_types import leaf_parts
from recallm.codec.refusals import Refusal, key_step
from recallm.errors import UnstorableResponseError

# Python may be told to read and write no more than 640 digits of an integer; this has 155.
_LONG = 1 << 512
_SEQUENCES = frozenset((tuple, set, frozenset))


class Writer:
    """Takes one response apart.

    Args:
        known: the classes that may be in it.
    """

    __slots__ = ("_classes", "_known", "_work")

    def __init__(self, known: KnownClasses) -> None:
        self._known = known
        self._work = Work()
        self._classes: dict[type, tuple[str, ClassCodec | None]] = {}

    def node(self, value: Any, depth: int) -> Any:
        """Return the JSON for a value: the value itself if JSON can hold it exactly, else its parts under a tag.

        Raises:
            Refusal: it cannot be stored.
        """
        if depth > MAX_DEPTH:
            raise too_deep()
        cls = type(value)
        if is_json_scalar(value):
            return value
        if cls is list:
            return self._items(value, depth + 1)
        if cls is dict and has_text_keys(value):
            return self._mapping(value, depth + 1, key_step)
        if (codec := TYPES_BY_CLASS.get(cls)) is not None:
            return {codec.tag: self._parts(codec, value, depth)}
        if issubclass(cls, Enum):
            return {"$e": self._member_parts(value, depth)}
        if cls not in self._classes and (leaf := leaf_parts(value)) is not None:
            return {"$x": leaf}
        return {"$o": self._instance_parts(value, depth)}

    def _items(self, items: Iterable[Any], depth: int, step: str = "[{}]") -> Parts:
        nodes: Parts = []
        try:
            for item in items:
                nodes.append(self.node(item, depth))  # their number tells where a refusal lies
        except Refusal as refusal:
            raise refusal.within(step.format(len(nodes))) from None
        return nodes

    def _mapping(self, value: Mapping[str, Any], depth: int, step: Callable[[str], str]) -> dict[str, Any]:
        if _looks_tagged(value):
            return {"$m": self._pairs(value, depth)}
        nodes, key = {}, ""
        try:
            for key, item in value.items():  # a refusal needs it
                nodes[key] = self.node(item, depth)
        except Refusal as refusal:
            raise refusal.within(step(key)) from None
        return nodes

    def _pairs(self, value: Mapping[Any, Any], depth: int) -> list[Parts]:
        nodes, key = [], None
        try:
            for key, item in value.items():  # a refusal needs it
                nodes.append([self.node(key, depth + 1), self.node(item, depth + 1)])
        except Refusal as refusal:
            raise refusal.within(key_step(key)) from None
        return nodes

    def _parts(self, codec: TypeCodec, value: Any, depth: int) -> Any:
        cls = codec.cls
        try:
            parts = codec.to_parts(value)
            if codec.charge is not None:
                codec.charge(self._work, parts)
        except (Refusal, RecursionError):
            raise
        except TooMuchError as error:
            raise Refusal(cls, f"with {error}") from None
        except Exception as error:  # noqa: BLE001  # reading a value may run code of what is in it
            raise unreadable(cls, error) from None
        if codec.parts_type is str:
            return parts
        if issubclass(cls, dict):
            pairs = self._pairs(value, depth + 1)
            return pairs if parts is None or not parts or type(parts[0]) is list else [parts[0], pairs]
        return self._items(parts, depth + 1, "[{}]" if cls in _SEQUENCES else "")

    def _instance_parts(self, value: Any, depth: int) -> Parts:
        cls = type(value)
        name, codec = self._named(cls)
        if codec is None:
            codec = self._codec(cls, name)
        try:
            values, rest = codec.to_parts(value)
        except (Refusal, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001  # reading a value may run code of its class
            raise unreadable(cls, error) from None
        if GENERIC in rest:
            rest = self._with_arguments(rest)
        parts = [name, self._mapping(values, depth + 1, _attribute_step)]
        return [*parts, self._rest(rest, depth + 1)] if rest else parts

    def _with_arguments(self, rest: Values) -> Values:
        """Return the rest with the names of its type arguments, or without them if they are no classes."""
        try:
            return {**rest, GENERIC: [self._argument(each) for each in rest[GENERIC]]}
        except LookupError:
            return {key: held for key, held in rest.items() if key != GENERIC}

    def _argument(self, argument: Any) -> str | list[Any]:
        origin = get_origin(argument)
        if isinstance(origin, type):
            return [self._argument(origin), *(self._argument(each) for each in get_args(argument))]
        if not isinstance(argument, type):
            raise LookupError("not a class")  # noqa: TRY004  # as for a class that is not known
        return BUILTINS.get(argument) or self._known.name(argument)

    def _rest(self, rest: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {
            key: self._mapping(held, depth + 1, _attribute_step) if type(held) is dict else self.node(held, depth)
            for key, held in rest.items()
        }

    def _member_parts(self, member: Enum, depth: int) -> Parts:
        parts = [self._named(type(member))[0], member.name]
        try:
            return [*parts, self.node(member.value, depth + 1)]
        except Refusal:
            return parts

    def _named(self, cls: type) -> tuple[str, ClassCodec | None]:
        """Return the name of a class, and what takes its instances apart if that is known already."""
        found = self._classes.get(cls)
        if found is None:
            try:
                found = self._classes[cls] = self._known.name(cls), None
            except LookupError as error:
                raise Refusal(cls, str(error)) from None
        return found

    def _codec(self, cls: type, name: str) -> ClassCodec:
        try:
            codec = self._known.codec(cls, name)
        except TypeError:
            raise Refusal(cls) from None
        self._classes[cls] = name, codec
        return codec


def is_json(value: Any, depth: int) -> bool:
    """Return whether JSON can hold a value exactly."""
    cls = type(value)
    if cls is not list and cls is not dict:
        return is_json_scalar(value)
    if depth > MAX_DEPTH:
        return False
    # Loops, as all() of a generator takes twice the time.
    for item in value if cls is list else value.values():
        if not is_json(item, depth + 1):
            return False
    return cls is list or has_text_keys(value)


def is_json_scalar(value: Any) -> bool:
    """Return whether JSON can hold a text, number, truth value or None exactly."""
    cls = type(value)
    if cls is str or cls is bool or value is None:
        return True
    if cls is int:
        return bool(-_LONG < value < _LONG)
    return cls is float and not isnan(value)


def has_text_keys(value: dict[Any, Any]) -> bool:
    """Return whether all keys of a mapping are texts."""
    for key in value:  # noqa: SIM110  # see above
        if type(key) is not str:
            return False
    return True


def unreadable(cls: type, error: Exception) -> Refusal:
    """Return the refusal of a value whose class raised; the message of `error` may quote it."""
    return Refusal(cls, f"{type(error).__name__} while it was read")


def too_deep() -> UnstorableResponseError:
    """Return the error for a response that is too deep."""
    return UnstorableResponseError(
        f"a response nested deeper than {MAX_DEPTH} levels, or in itself, cannot be stored; "
        "return a flatter one, or leave such responses out with store_if="
    )


def _looks_tagged(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _attribute_step(name: str) -> str:
    return f".{name}" if name else ""
