"""The classes that a function says it may return, read from its annotations."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from typing import Annotated, Any, ForwardRef, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from recallm.concurrency.signals import let_through
from recallm.errors import contained
from recallm.keying.objects import is_pydantic_class
from recallm.keying.signature import call_method, unwrap_function


def return_annotation(fn: Callable[..., object]) -> object:
    """Return what `fn` is annotated to return, or None if that is unknown.

    An annotation is unknown if it names what cannot be found: a class imported for type checkers only, or a
    local one. The annotations of the parameters play no part.

    Args:
        fn: a function, method, partial, class or callable object, sync or async.

    >>> def ask(question: "Nowhere") -> "list[int]": ...
    >>> return_annotation(ask)
    list[int]
    """
    inner = unwrap_function(fn, through_wrappers=True)
    if isinstance(inner, type):
        return inner
    if not inspect.isroutine(inner):
        inner = unwrap_function(call_method(inner), through_wrappers=True)
    annotations = getattr(inner, "__annotations__", {})
    if "return" not in annotations:
        return None
    return _resolved(annotations["return"], getattr(inner, "__globals__", {}), {})


def classes_in(annotation: object) -> Iterator[type]:
    """Yield once every class that values of an annotated type may hold, however deep.

    Args:
        annotation: a class, or a type expression: unions, generics, ``Annotated``, aliases, ``Literal``
            and awaitables are looked into, and so are the fields of dataclasses, pydantic models, named
            tuples and typed dictionaries.
    """
    pending, seen = [annotation], set()
    while pending:
        found: Any = pending.pop()
        origin = get_origin(found)
        if isinstance(found, Enum):
            found = type(found)
        if origin is Annotated:
            pending.append(get_args(found)[0])
        elif origin is not None:
            pending += [origin, *get_args(found)]
        elif isinstance(found, TypeVar):
            pending += [found.__bound__, *found.__constraints__]
        elif isinstance(found, type):
            if found not in seen:
                seen.add(found)
                pending += _field_types(found)
                yield found
        elif hasattr(found, "__supertype__"):
            pending.append(found.__supertype__)
        elif type(found).__name__ == "TypeAliasType" and found not in seen:
            seen.add(found)
            pending.append(_alias_value(found))


def _alias_value(alias: Any) -> object:
    try:
        return contained(lambda: _resolved(alias.__value__, vars(sys.modules[alias.__module__]), {}))
    except Exception as error:  # noqa: BLE001  # a lazy alias may name what is not there
        let_through(error)
        return None


def _field_types(cls: type) -> list[object]:
    is_named_tuple = issubclass(cls, tuple) and hasattr(cls, "_fields")
    is_record = is_dataclass(cls) or is_typeddict(cls) or is_pydantic_class(cls) or is_named_tuple
    if not is_record or issubclass(cls, Enum):
        return []
    types: list[object] = []
    for base in cls.__mro__:
        # A name means what it means in the module: a field may share the name of its type.
        names = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        annotations = inspect.get_annotations(base)
        types += [_resolved(annotation, vars(base), names) for annotation in annotations.values()]
    if is_pydantic_class(cls):
        # A generic model's own annotations still have the type variables in them.
        types += [field.annotation for field in cls.model_fields.values()]  # type: ignore[attr-defined]
    return types


def _resolved(annotation: object, names: Mapping[str, Any], local_names: Mapping[str, Any]) -> object:
    """Return an annotation with the names in it replaced by what they name, or None if one names nothing."""
    if isinstance(annotation, type):
        return annotation

    class Holder:
        __annotations__ = {"it": annotation}

    try:
        return contained(get_type_hints, Holder, dict(names), dict(local_names), True)["it"]
    except Exception as error:  # noqa: BLE001  # an annotation may be any expression, and fail in any way
        let_through(error)
        return None if isinstance(annotation, str | ForwardRef) else annotation
