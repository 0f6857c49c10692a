"""What an object holds: the one reader of instances, whatever defines their class.

`canonical` and `chat` read arguments and messages with it, `classes` what a class defines, and `recallm.codec.classes`
the classes of responses. Values are taken from where they lie, so that a class's own ``__getstate__``, property or
serialiser can neither hide nor invent any, and no code of the object runs.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from functools import cached_property
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple
from weakref import ref

from recallm.keying.attached import Attached

BUILTIN_BASES: tuple[type, ...] = (
    OrderedDict, defaultdict, dict, list, tuple, str, bytes, bytearray, set, frozenset, deque, int, float, complex,
)  # fmt: skip
"""The containers and scalars whose subclasses are read by their content, the more special ones first."""

_POINTER_BYTES = 8
_MANAGED_DICT = 1 << 4
"""Python's flag of types whose instances keep their ``__dict__`` outside of ``__basicsize__``."""


class Layout(NamedTuple):
    """Where the instances of one class hold what they hold.

    Attributes:
        base: the built-in whose content they have, or None.
        has_attributes: whether they have a ``__dict__``, which can be read.
        slots: a name for each slot, and a reference to the class that defines it: the slot itself would keep it alive.
        whole: whether nothing lies anywhere else, as in the objects of compiled libraries.
        derived: names of cached properties: what they hold follows from the rest.
    """

    base: type | None
    has_attributes: bool
    slots: tuple[tuple[str, ref[type]], ...]
    whole: bool
    derived: frozenset[str]


_LAYOUTS: Attached[Layout] = Attached()


def layout(cls: type, base: type | None = None) -> Layout:
    """Return where the instances of `cls` hold what they hold.

    Args:
        cls: the class.
        base: the base whose content is read by other means; None: the first of `BUILTIN_BASES` that it has.
    """
    if base is not None:
        return _layout(cls, base)
    known = _LAYOUTS.get(cls)
    if known is None:
        builtin = next((each for each in BUILTIN_BASES if issubclass(cls, each)), None)
        known = _LAYOUTS.keep(cls, _layout(cls, builtin))
    return known


def _layout(cls: type, base: type | None) -> Layout:
    own = cls.__mro__[: cls.__mro__.index(base)] if base else cls.__mro__[:-1]
    slots = tuple(_slots(own))
    # Some bases, such as `OrderedDict`, take attributes themselves, and their subclasses keep theirs there.
    attributes = next((vars(kind)["__dict__"] for kind in cls.__mro__ if "__dict__" in vars(kind)), None)
    readable = attributes is None or isinstance(attributes, GetSetDescriptorType | MemberDescriptorType)
    expected = (base or object).__basicsize__ + _POINTER_BYTES * len(slots)
    if base is None or not base.__dictoffset__:
        expected += _POINTER_BYTES * bool(cls.__dictoffset__ and not cls.__flags__ & _MANAGED_DICT)
    if base is None or not base.__weakrefoffset__:
        expected += _POINTER_BYTES * (cls.__weakrefoffset__ > 0)
    whole = readable and cls.__basicsize__ <= expected and cls.__itemsize__ == (base or object).__itemsize__
    derived = {name for kind in cls.__mro__ for name, item in vars(kind).items() if isinstance(item, cached_property)}
    return Layout(base, attributes is not None and readable, slots, whole, frozenset(derived))


def _slots(classes: tuple[type, ...]) -> Iterator[tuple[str, ref[type]]]:
    for kind in classes:
        if "__slots__" not in vars(kind):
            continue
        for name, item in vars(kind).items():
            if isinstance(item, MemberDescriptorType):
                yield name, ref(kind)


def attributes_of(value: object) -> dict[str, Any]:
    """Return the ``__dict__`` of an instance whose layout says that it has one; no code of the object runs."""
    return object.__getattribute__(value, "__dict__")  # type: ignore[no-any-return]  # it is a dict


def state(value: object, where: Layout) -> dict[str, Any]:
    """Return by name what an instance holds in attributes and slots, as `where` tells.

    The mapping may be the object's own: it is there to be read.
    """
    attributes = attributes_of(value) if where.has_attributes else {}
    if not where.slots:
        return attributes
    held = dict(attributes)
    for name, holder in where.slots:
        kind: Any = holder()
        slot = vars(kind).get(name)
        if not isinstance(slot, MemberDescriptorType):  # something else has taken its place
            continue
        try:
            item = slot.__get__(value)
        except AttributeError:  # the slot was never filled
            continue
        # A class may name a slot of its base again; both are there.
        held[name if name not in held else f"{name} of {kind.__qualname__}"] = item
    return held


def named_values(value: object) -> dict[str, Any]:
    """Return by name what an object holds in attributes and slots.

    Nothing is found in an object that hides what it holds, as those of compiled libraries do.

    >>> from types import SimpleNamespace
    >>> named_values(SimpleNamespace(role="user"))
    {'role': 'user'}
    """
    return state(value, layout(type(value)))


def unloaded_columns(attributes: dict[str, Any]) -> list[str] | None:
    """Return what an object mapped by SQLAlchemy would have to fetch from its database, or None if it is none.

    Args:
        attributes: what the object holds, by name.
    """
    tracked = attributes.get("_sa_instance_state")
    mapped = getattr(tracked, "manager", None)
    if mapped is None:
        return None
    return [] if getattr(tracked, "key", None) is None else sorted(set(mapped) - attributes.keys())


def is_mapped_collection(attributes: dict[str, Any]) -> bool:
    """Return whether an object with these attributes is a list, set or mapping of what SQLAlchemy has loaded."""
    return type(attributes.get("_sa_adapter")).__module__.startswith("sqlalchemy.")


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
    """Return what a pydantic model holds; what a subclass adds in slots is left to `state`."""
    return ModelValues(value.__dict__, value.__pydantic_extra__, value.__pydantic_private__)


def is_pydantic_class(cls: type) -> bool:
    """Return whether `cls` is a model class of pydantic 2."""
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return hasattr(base, "__pydantic_validator__") and issubclass(cls, base)  # type: ignore[arg-type]  # it is a class


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


RAW_ITEMS: dict[type, Callable[[Any], Any]] = {
    OrderedDict: OrderedDict.items,
    defaultdict: dict.items,
    dict: dict.items,
    list: list.__iter__,
    tuple: tuple.__iter__,
    set: set.__iter__,
    frozenset: frozenset.__iter__,
    deque: deque.__iter__,
}
"""How the content of a container is read past what a subclass makes of it."""
