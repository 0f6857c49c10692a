"""What an object holds: the one reader of dataclasses, pydantic models and any other object.

`canonical` reads arguments with it, `chat` messages, and `recallm.codec.classes` the classes of responses. Values are
taken from where they lie, so that a class's own ``__getstate__`` or serialiser can neither hide nor invent any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple


def is_pydantic_model(value: object) -> bool:
    """Return whether `value` is an instance of a pydantic 2 model."""
    base = _pydantic_base()
    return base is not None and isinstance(value, base)


def is_pydantic_class(cls: type) -> bool:
    """Return whether `cls` is a model class of pydantic 2."""
    base = _pydantic_base()
    return base is not None and issubclass(cls, base)


def has_declared_fields(value: object) -> bool:
    """Return whether `value` is an instance of a dataclass or of a pydantic model."""
    return is_dataclass(value) or is_pydantic_model(value)


def raw_state(value: object) -> object:
    """Return what an object holds, as `object` itself reads it.

    Returns:
        The attributes by name; or a pair of the attributes, or None, and what lies in slots by name; or None if
        there is neither.
    """
    return object.__getstate__(value)


def slot_values(value: object) -> dict[str, Any]:
    """Return by name what an object holds in slots, those of its bases included."""
    state = raw_state(value)
    return state[1] if isinstance(state, tuple) else {}


def named_values(value: object) -> Mapping[str, Any]:
    """Return by name what an object holds in attributes and slots.

    Nothing is found in an object that hides what it holds, as those of compiled libraries do. The mapping may be the
    object's own: it is there to be read.

    >>> from types import SimpleNamespace
    >>> named_values(SimpleNamespace(role="user"))
    {'role': 'user'}
    """
    match raw_state(value):
        case dict() as attributes:
            return attributes
        case (None | dict() as attributes, dict() as slots):
            return {**(attributes or {}), **slots}
        case _:
            return {}


def dataclass_values(value: Any) -> dict[str, Any]:
    """Return by name the fields of a dataclass's instance, and the attributes it holds beside them.

    Raises:
        AttributeError: a field was never set.
    """
    return {field.name: getattr(value, field.name) for field in fields(value)} | getattr(value, "__dict__", {})


class ModelValues(NamedTuple):
    """What a pydantic model holds, by name.

    Attributes:
        fields: the values of its fields.
        extra: those of fields that it does not declare; None: it takes none.
        private: those of its private attributes; None: it has none.
    """

    fields: dict[str, Any]
    extra: dict[str, Any] | None
    private: dict[str, Any] | None


def model_values(value: Any) -> ModelValues:
    """Return what a pydantic model holds; what a subclass adds in slots is left to `slot_values`."""
    return ModelValues(value.__dict__, value.__pydantic_extra__, value.__pydantic_private__)


def slot_names(cls: type) -> Iterator[str]:
    """Yield the names of the slots of a class and of its bases, as `getattr` takes them.

    Those that Python and pydantic keep for themselves (``__dict__``, ``__pydantic_extra__``) are left out.
    """
    for base in cls.__mro__:
        own = base.__dict__.get("__slots__", ())
        for name in (own,) if isinstance(own, str) else own:
            if name.startswith("__") and not name.endswith("__"):
                yield f"_{base.__name__.lstrip('_')}{name}"
            elif not name.startswith("__"):
                yield name


def _pydantic_base() -> type | None:
    """Return ``pydantic.BaseModel``, or None if nobody has imported pydantic 2 and so nothing can be a model."""
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return base if hasattr(base, "__pydantic_validator__") else None
