"""Which class lies at a path in the modules that are loaded, and what it is.

Nothing is imported, and no code of a module or class runs while a path is followed: only dictionaries are read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import EnumType
from types import ModuleType
from typing import Any

from recallm.keying.reader import MAIN, class_module, module_path

MAX_PATH = 1000
"""How long a path may be."""

_MODULE_NAMES: Any = vars(ModuleType)["__dict__"].__get__
_CLASS_NAMES: Any = vars(type)["__dict__"].__get__
_MODULE_OF: Any = vars(type)["__module__"].__get__
_QUALNAME_OF: Any = vars(type)["__qualname__"].__get__
_MRO_OF: Any = vars(type)["__mro__"].__get__
_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_validator__")


def path_of(cls: type) -> str:
    """Return the path of a class: its module and its name; a script's module is the one that its file would be."""
    module = _MODULE_OF(cls)
    qualname = _QUALNAME_OF(cls)
    return f"{class_module(cls, module, qualname) if type(module) is str else None}.{qualname}"


def static(cls: type, name: str) -> Any:
    """Return what a class or its bases define under a name, as it lies there, or None."""
    return next((found[name] for found in map(_CLASS_NAMES, _MRO_OF(cls)) if name in found), None)


def is_data_class(cls: type) -> bool:
    """Return whether a class is there to hold data: a dataclass, pydantic model, named tuple, enum, attrs or msgspec.

    One that does something when its instances end is not: making an instance would be to have that done.
    """
    if static(cls, "__del__") is not None:
        return False
    if tuple in _MRO_OF(cls):
        return static(cls, "_fields") is not None
    is_made_so = EnumType in _MRO_OF(type(cls)) or is_struct_class(cls)
    return is_made_so or any(static(cls, mark) is not None for mark in _MARKS)


def is_struct_class(cls: type) -> bool:
    """Return whether `cls` is a class of msgspec's."""
    return _has_base(cls, "msgspec", "Struct")


def is_model_class(cls: type) -> bool:
    """Return whether `cls` is a model class of pydantic 2."""
    return _has_base(cls, "pydantic.main", "BaseModel") and static(cls, "__pydantic_validator__") is not None


def _has_base(cls: type, module: str, name: str) -> bool:
    found = sys.modules.get(module)
    return found is not None and _MODULE_NAMES(found).get(name, object) in _MRO_OF(cls)[:-1]


def loaded_class(path: str, guess: type | None = None) -> type | None:
    """Return the class that lies at a path in a module that is loaded, or None.

    Args:
        path: the path.
        guess: a class of that path, which is probably the one; to see that takes a third of the time.

    >>> loaded_class("fractions.Fraction")
    <class 'fractions.Fraction'>
    >>> loaded_class("this.is.not.loaded")
    """
    if guess is not None and _lies_in_its_module(guess):
        return guess
    if len(path) > MAX_PATH:
        return None
    named, bracket, arguments = path.partition("[")
    parts = named.split(".")
    for count in range(len(parts) - 1, 0, -1):
        for module in _modules(".".join(parts[:count])):
            found = _walk(_MODULE_NAMES(module), parts[count:])
            if found is not None and bracket:
                found = _walk(_MODULE_NAMES(module), [parts[count] + bracket + arguments]) or _parametrised(found, path)
            if found is not None and path_of(found) == path:
                return found
    return None


def _lies_in_its_module(cls: type) -> bool:
    name = _MODULE_OF(cls)
    module = None if name in MAIN else sys.modules.get(name)
    return type(module) is ModuleType and _MODULE_NAMES(module).get(_QUALNAME_OF(cls)) is cls


def _modules(name: str) -> Iterator[ModuleType]:
    module = sys.modules.get(name)
    if module is not None and ModuleType in _MRO_OF(type(module)):
        yield module
    for main in MAIN:
        if main in sys.modules and name != main and module_path(main) == name:
            yield sys.modules[main]


def _walk(names: Any, parts: list[str]) -> type | None:
    found: Any = None
    for part in parts:
        if part not in names:
            return None
        found = names[part]
        if type not in _MRO_OF(type(found)):
            return None
        names = _CLASS_NAMES(found)
    return found  # type: ignore[no-any-return]  # a class, as checked


def _parametrised(generic: type, path: str) -> type | None:
    """Return the one class that a generic pydantic model has made for the type arguments in a path."""
    subclasses: list[type] = type.__subclasses__(generic)
    made = [cls for cls in subclasses if path_of(cls) == path]
    return made[0] if len(made) == 1 else None
