"""Instances of classes, taken apart into named values and put together again without running their code.

What an instance held is restored attribute by attribute: no ``__init__``, ``__post_init__``, validator or property
setter runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cached_property
from types import FunctionType
from typing import Any, TypeAlias

from recallm.keying.objects import is_pydantic_class, model_values, slot_names

Values: TypeAlias = dict[str, Any]

_REST = {"attributes", "unset", "set", "extra", "private"}
"""What an instance may hold besides the values of its fields.

``attributes``: by name, what was set beside the fields; ``unset``: names of fields without a value; and of pydantic
models ``set``: names of the fields that were given, ``extra`` and ``private``: those fields and attributes by name.
"""


class ClassCodec:
    """Takes instances of one class apart into the values of its fields and whatever else they hold.

    Args:
        cls: the class.
        names: names of the fields that it declares.
    """

    def __init__(self, cls: type, names: Iterator[str]) -> None:
        self.cls = cls
        self.names = frozenset(names)
        self._slots = frozenset(slot_names(cls))

    def to_parts(self, value: Any) -> tuple[Values, Values]:
        """Return the values of the fields by name, and the rest, by the keys of `_REST`; it is mostly empty."""
        held = dict(getattr(value, "__dict__", ()))
        held.update((name, getattr(value, name)) for name in self._slots if hasattr(value, name))
        return self._sorted(held)

    def from_parts(self, values: Values, rest: Values) -> Any:
        """Return a new instance that holds what `to_parts` returned.

        Raises:
            ValueError: the fields, or the keys of the rest, are not those of the class.
        """
        self._check(values, rest)
        made: Any = object.__new__(self.cls)
        self._fill(made, values, rest)
        return made

    def _sorted(self, held: Values) -> tuple[Values, Values]:
        if held.keys() == self.names:
            return held, {}
        values = {name: item for name, item in held.items() if name in self.names}
        more = {name: item for name, item in held.items() if name not in self.names and not self._cached(name)}
        rest: Values = {"attributes": more} if more else {}
        if len(values) < len(self.names):
            rest["unset"] = sorted(self.names - values.keys())
        return values, rest

    def _cached(self, name: str) -> bool:
        return isinstance(getattr(self.cls, name, None), cached_property)

    def _check(self, values: Values, rest: Values) -> None:
        if values.keys() != self.names and sorted([*values, *rest.get("unset", ())]) != sorted(self.names):
            raise ValueError("the fields are not those of the class")
        if not rest.keys() <= _REST:
            raise ValueError("an instance has parts that are unknown")

    def _fill(self, made: Any, values: Values, rest: Values) -> None:
        held = values | rest["attributes"] if "attributes" in rest else values
        if self._slots:
            for name in self._slots & held.keys():
                object.__setattr__(made, name, held[name])
            held = {name: item for name, item in held.items() if name not in self._slots}
        if held:
            made.__dict__.update(_with_text_keys(held))


class NamedTupleCodec(ClassCodec):
    """Takes named tuples of one class apart."""

    def to_parts(self, value: Any) -> tuple[Values, Values]:
        """Return the items by name, and the attributes that were set beside them."""
        own = dict(zip(self.cls._fields, value, strict=True))  # type: ignore[attr-defined]  # a named tuple's
        held = getattr(value, "__dict__", None)
        return own, {"attributes": dict(held)} if held else {}

    def from_parts(self, values: Values, rest: Values) -> Any:
        """Return a new tuple that holds what `to_parts` returned."""
        self._check(values, rest)
        made: Any = tuple.__new__(self.cls, [values[name] for name in self.cls._fields])  # type: ignore[attr-defined]
        self._fill(made, {}, rest)
        return made


class ModelCodec(ClassCodec):
    """Takes instances of one pydantic model apart, and restores them as they were, unvalidated."""

    def to_parts(self, value: Any) -> tuple[Values, Values]:
        """Return the values of the fields; the rest says which were given, and holds the extra and the private ones."""
        values, rest = super().to_parts(value)
        if value.__pydantic_fields_set__ != values.keys():
            rest["set"] = sorted(value.__pydantic_fields_set__)
        _, extra, private = model_values(value)
        if extra is not None:
            rest["extra"] = dict(extra)
        if private is not None:
            rest["private"] = dict(private)
        return values, rest

    def _check(self, values: Values, rest: Values) -> None:
        super()._check(values, rest)
        cls: Any = self.cls
        if "extra" in rest and cls.model_config.get("extra") != "allow":
            raise ValueError("the model takes no extra fields")
        if not rest.get("private", {}).keys() <= cls.__private_attributes__.keys():
            raise ValueError("the private attributes are not those of the model")
        if not all(type(name) is str for name in rest.get("set", ())):
            raise ValueError("the fields that were set have no names")

    def _fill(self, made: Any, values: Values, rest: Values) -> None:
        super()._fill(made, values, rest)
        object.__setattr__(made, "__pydantic_fields_set__", set(rest.get("set", values)))
        if not self.cls.__pydantic_root_model__:  # type: ignore[attr-defined]  # a pydantic model's
            extra, private = rest.get("extra"), rest.get("private")
            object.__setattr__(made, "__pydantic_extra__", extra if extra is None else _with_text_keys(extra))
            object.__setattr__(made, "__pydantic_private__", private)


def class_codec(cls: type) -> ClassCodec | None:
    """Return what takes instances of `cls` apart, or None if they cannot be stored, or are members of an enum."""
    if any(hasattr(cls, name) for name in ("__next__", "__anext__", "__await__")):
        return None
    if issubclass(cls, tuple):
        names = getattr(cls, "_fields", None)
        return NamedTupleCodec(cls, iter(names)) if isinstance(names, tuple) else None
    if issubclass(cls, Enum) or not (cls.__new__ is object.__new__ or isinstance(cls.__new__, FunctionType)):
        return None
    if is_pydantic_class(cls):
        return ModelCodec(cls, iter(cls.model_fields))  # type: ignore[attr-defined]  # a pydantic model's
    if is_dataclass(cls):
        return ClassCodec(cls, (field.name for field in fields(cls)))
    return None


def _with_text_keys(held: Mapping[Any, Any]) -> Values:
    if not all(type(name) is str for name in held):
        raise ValueError("attributes have names")
    return dict(held)
