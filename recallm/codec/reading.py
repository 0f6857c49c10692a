"""From JSON with tags to the value that it stands for."""

from __future__ import annotations

import json
from enum import Enum, Flag
from typing import Any, Generic

from recallm.codec.bounds import Work
from recallm.codec.builtin_types import BUILTINS, BUILTINS_BY_NAME, TYPES_BY_TAG
from recallm.codec.classes import GENERIC, ClassCodec
from recallm.codec.known import KnownClasses
from recallm.codec.library_types import leaf
from recallm.codec.lookup import static
from recallm.errors import UnknownTypeError


class Reader:
    """Makes one response.

    Args:
        known: the classes that may be in it.
    """

    __slots__ = ("_classes", "_known", "_work")

    def __init__(self, known: KnownClasses) -> None:
        self._known = known
        self._work = Work()
        self._classes: dict[str, type | ClassCodec] = {}

    def read(self, text: str) -> Any:
        """Return the value that JSON stands for.

        Raises:
            UnknownTypeError: this process does not know a class in it.
            Exception: it stands for none.
        """
        return json.JSONDecoder(object_hook=self._revived).decode(text)

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
        if tag == "$x":
            return leaf(*parts)
        codec = TYPES_BY_TAG[tag]
        if type(parts) is not codec.parts_type:
            raise TypeError(f"{tag} has parts of another type")
        if codec.charge is not None:
            codec.charge(self._work, parts)
        return codec.from_parts(parts)

    def _instance(self, name: str, values: dict[str, Any], rest: dict[str, Any] | None = None) -> Any:
        codec = self._classes.get(name)
        if codec is None:
            codec = self._classes[name] = self._codec(name)
        if rest and GENERIC in rest:
            rest = self._with_arguments(rest)
        return codec.from_parts(values, rest or {})  # type: ignore[union-attr]  # enums have names of their own

    def _with_arguments(self, rest: dict[str, Any]) -> dict[str, Any]:
        """Return the rest with the classes that its type arguments name; without them if one is not known."""
        try:
            return {**rest, GENERIC: tuple(map(self._argument, rest[GENERIC]))}
        except UnknownTypeError:
            return {**rest, GENERIC: ()}

    def _argument(self, name: Any) -> Any:
        if type(name) is str:
            return BUILTINS_BY_NAME.get(name) or self._known.find(name)
        origin, *arguments = map(self._argument, name)
        subscript = static(origin, "__class_getitem__")
        if subscript is not vars(Generic)["__class_getitem__"] and origin not in BUILTINS:
            raise TypeError("not a generic class")
        return origin[tuple(arguments)]

    def _codec(self, name: str) -> ClassCodec:
        try:
            return self._known.codec(self._known.find(name), name)
        except TypeError:
            raise UnknownTypeError("") from None

    def _member(self, name: str, member_name: str | None, *value: Any) -> Enum:
        cls = self._classes.get(name)
        if cls is None:
            cls = self._classes[name] = self._known.find(name)
        if not isinstance(cls, type) or not issubclass(cls, Enum):
            raise TypeError("not an enum")
        member = cls(*value) if issubclass(cls, Flag) else static(cls, "_member_map_")[member_name]
        if type(member) is not cls or member.name != member_name:
            raise ValueError("the enum has no such member")
        if value and (type(member.value) is not type(value[0]) or member.value != value[0]):
            raise ValueError("the member has another value")
        return member
