"""Instances of classes, taken apart into named values and put together again without running their code.

What an instance held is restored attribute by attribute: no ``__init__``, ``__post_init__``, validator or property
setter runs. Only msgspec makes its objects itself, of classes without a ``__post_init__``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cached_property
from types import FunctionType
from typing import Any, Generic, TypeAlias, get_args, get_origin

from recallm.codec.lookup import is_model_class, is_struct_class, static
from recallm.codec.refusals import Refusal
from recallm.keying.objects import layout, model_values, slot_names, state

Values: TypeAlias = dict[str, Any]

_REST = {"attributes", "unset", "generic", "set", "extra", "private"}
"""What an instance may hold besides the values of its fields.

``attributes``: by name, what was set beside the fields; ``unset``: names of fields without a value; ``generic``: the
type arguments with which a generic class was called, as in ``Box[int](1)``; and of pydantic models ``set``: names of
the fields that were given, ``extra`` and ``private``: those fields and attributes by name.
"""


GENERIC = "generic"
"""The key of the type arguments in the rest of an instance; whoever stores it names them, and finds them again."""

_FORM = "__orig_class__"


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
        form = more.pop(_FORM, None)
        rest: Values = {"attributes": more} if more else {}
        if get_origin(form) is self.cls:
            rest[GENERIC] = get_args(form)
        if len(values) < len(self.names):
            rest["unset"] = sorted(self.names - values.keys())
        return values, rest

    def _cached(self, name: str) -> bool:
        return isinstance(getattr(self.cls, name, None), cached_property)

    def _check(self, values: Values, rest: Values) -> None:
        if values.keys() != self.names and sorted([*values, *rest.get("unset", ())]) != sorted(self.names):
            raise ValueError("the fields are not those of the class")
        if not rest.keys() <= _REST or _FORM in rest.get("attributes", ()):
            raise ValueError("an instance has parts that are unknown")

    def _fill(self, made: Any, values: Values, rest: Values) -> None:
        held = values | rest["attributes"] if "attributes" in rest else values
        if rest.get(GENERIC) and static(self.cls, "__class_getitem__") is vars(Generic)["__class_getitem__"]:
            held = {**held, _FORM: self.cls[rest[GENERIC]]}  # type: ignore[index]  # a generic class
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
        return self._sorted({**own, **held}) if held else (own, {})

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


class AttrsCodec(ClassCodec):
    """Takes instances of one attrs class apart."""

    def _sorted(self, held: Values) -> tuple[Values, Values]:
        if _ATTRS_HASH in held:
            # The hashes of texts differ between processes.
            held = {**held, _ATTRS_HASH: None}
        return super()._sorted(held)


class StructCodec(ClassCodec):
    """Takes msgspec's structs of one class apart."""

    def to_parts(self, value: Any) -> tuple[Values, Values]:
        """Return the values of the fields by name, and the attributes that were set beside them."""
        return self._sorted(dict(state(value, layout(self.cls))))

    def from_parts(self, values: Values, rest: Values) -> Any:
        """Return a new struct; only msgspec can make one, and it runs no code of the class."""
        self._check(values, rest)
        made = self.cls(**values)
        self._fill(made, {}, rest)
        return made


class ScalarCodec(ClassCodec):
    """Takes apart instances of a class derived from `str`, `bytes`, `int` or `float`, if they hold nothing else."""

    def __init__(self, cls: type, base: type) -> None:
        super().__init__(cls, iter([""]))
        self._base = base

    def to_parts(self, value: Any) -> tuple[Values, Values]:
        """Return the content, as an instance of the base."""
        if state(value, layout(self.cls)):
            raise Refusal(self.cls, "which has attributes of its own")
        return {"": _PLAIN[self._base](value)}, {}

    def from_parts(self, values: Values, rest: Values) -> Any:
        """Return a new instance of that content."""
        self._check(values, rest)
        if rest or type(values[""]) is not self._base:
            raise ValueError("the content is of another type")
        return self._base.__new__(self.cls, values[""])


_ATTRS_HASH = "_attrs_cached_hash"
_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    int: int.__int__,
    float: float.__float__,
}
"""How the content of a scalar is read past what a subclass makes of it."""


def class_codec(cls: type) -> ClassCodec | None:
    """Return what takes instances of `cls` apart, or None if they cannot be stored, or are members of an enum."""
    if any(static(cls, name) is not None for name in ("__next__", "__anext__", "__await__")) or issubclass(cls, Enum):
        return None
    if issubclass(cls, tuple):
        names = static(cls, "_fields")
        return NamedTupleCodec(cls, iter(names)) if isinstance(names, tuple) else None
    base = next((base for base in _PLAIN if issubclass(cls, base)), None)
    if base is not None:
        return ScalarCodec(cls, base) if cls not in (base, bool) and layout(cls).whole else None
    return _record_codec(cls)


def _record_codec(cls: type) -> ClassCodec | None:
    if is_struct_class(cls):
        runs_code = any(isinstance(static(cls, name), FunctionType) for name in ("__init__", "__post_init__"))
        return None if runs_code else StructCodec(cls, iter(cls.__struct_fields__))  # type: ignore[attr-defined]
    new = static(cls, "__new__")
    if new is not object.__new__ and not isinstance(getattr(new, "__func__", new), FunctionType):
        return None
    if is_model_class(cls):
        return ModelCodec(cls, iter(cls.model_fields))  # type: ignore[attr-defined]  # a pydantic model's
    if is_dataclass(cls):
        return ClassCodec(cls, (field.name for field in fields(cls)))
    attributes = static(cls, "__attrs_attrs__")
    return None if attributes is None else AttrsCodec(cls, (attribute.name for attribute in attributes))


def _with_text_keys(held: Mapping[Any, Any]) -> Values:
    if not all(type(name) is str for name in held):
        raise ValueError("attributes have names")
    return dict(held)
