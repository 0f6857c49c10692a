"""The public API as text: every public name with its signature, its members and its fields, one a line.

Run as a program, it prints what ``tests/data/public_api.txt`` must hold.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import recallm

HEAD = """\
# The public API: what users may rely on. A change to this file is a change for them: say so in CHANGELOG.md.
# Written by: python tests/support/public_api.py > tests/data/public_api.txt
"""

MODULES = (
    "recallm",
    "recallm.events",
    "recallm.opentelemetry",
    "recallm.scoring",
    "recallm.testing",
    "recallm.typing",
    "recallm.verifiers",
)
"""The modules that users import from."""

MAX_WIDTH = 118

_NO_DEFAULT = dataclasses.MISSING
_CONSTANTS = {"DEFAULT_GUARDS": recallm.DEFAULT_GUARDS}
_TOP_LEVEL = {id(getattr(recallm, name)): name for name in recallm.__all__}


class _Verbatim(str):
    """Text that a signature shows as it is, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def public_api() -> str:
    """Return the text of ``tests/data/public_api.txt``."""
    return HEAD + "".join(f"{line}\n" for name in MODULES for line in ("", *_module(importlib.import_module(name))))


def _module(module: ModuleType) -> Iterator[str]:
    yield f"== {module.__name__} =="
    defined = _defined(module)
    for name in sorted(getattr(module, "__all__", defined), key=str.lower):
        value = getattr(module, name, None)
        if module is not recallm and id(value) in _TOP_LEVEL:
            yield f"{name} = recallm.{_TOP_LEVEL[id(value)]}"
        elif inspect.isclass(value):
            yield from _class(name, value)
        elif inspect.isfunction(value):
            yield from _function(name, value)
        else:
            yield f"{name} = {defined.get(name) or _value(value, {})}"


def _defined(module: ModuleType) -> Mapping[str, str]:
    """Return the public names that a module binds, not those it imports, with the source of their values."""
    found: dict[str, str] = {}
    tree = ast.parse(inspect.getsource(module))
    typed = [node for each in tree.body if isinstance(each, ast.If) for node in each.body]
    for node in (*tree.body, *typed):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = ""
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = ast.unparse(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = ast.unparse(value)
    return {name: source for name, source in found.items() if not name.startswith("_")}


def _class(name: str, cls: type) -> Iterator[str]:
    bases = ", ".join(
        base.__name__ for base in cls.__bases__ if base is not object and not base.__name__.startswith("_")
    )
    yield f"class {name}({bases})" if bases else f"class {name}"
    fields = tuple(_fields(cls))
    yield from (f"    {field}" for field in fields)
    for member, value in _members(cls).items():
        if not member.startswith("_") or member == "__call__" or (member == "__init__" and not fields):
            yield from (f"    {line}" for line in _member(member, value))


def _fields(cls: type) -> Iterator[str]:
    if dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            made = field.default_factory
            yield _field(field.name, field.type, field.default if made is dataclasses.MISSING else made())
    elif issubclass(cls, tuple):
        defaults: Mapping[str, Any] = getattr(cls, "_field_defaults", {})
        for name, annotation in cls.__annotations__.items():
            yield _field(name, annotation, defaults.get(name, _NO_DEFAULT))


def _field(name: str, annotation: Any, default: object) -> str:
    text = f"{name}: {getattr(annotation, '__forward_arg__', annotation)}"
    return text if default is _NO_DEFAULT else f"{text} = {_value(default, {})}"


def _members(cls: type) -> Mapping[str, Any]:
    """Return what a class and its private bases define, but for fields; public bases have lines of their own."""
    fields = {*getattr(cls, "__dataclass_fields__", ()), *getattr(cls, "_fields", ())}
    ours = [each for each in cls.__mro__ if each.__module__.startswith("recallm")]
    own = [each for each in ours if each is cls or id(each) not in _TOP_LEVEL]
    members = {name: value for each in reversed(own) for name, value in vars(each).items()}
    return {
        name: value
        for name, value in members.items()
        if name not in fields and getattr(value, "__module__", "recallm").startswith("recallm")
    }


def _member(name: str, value: Any) -> Iterator[str]:
    match value:
        case property():
            yield f"{name}: {inspect.get_annotations(value.fget or _member).get('return', 'Any')}"
        case classmethod() | staticmethod():
            yield f"@{type(value).__name__}"
            yield from _function(name, value.__func__)
        case _ if inspect.isfunction(value):
            yield from _function(name, value)
        case _:
            yield f"{name} = {_value(value, {})}"


def _function(name: str, function: Any) -> Iterator[str]:
    """Yield a signature, in one line if it is short enough, else with a line for each parameter."""
    signature = inspect.signature(function)
    parameters = [
        _shown(parameter, {**function.__globals__, **_CONSTANTS}) for parameter in signature.parameters.values()
    ]
    shown = str(signature.replace(parameters=parameters, return_annotation=_verbatim(signature.return_annotation)))
    begin = f"{'async ' * inspect.iscoroutinefunction(function)}def {name}"
    if len(begin + shown) <= MAX_WIDTH:
        yield begin + shown
        return
    lines = [str(parameter) for parameter in parameters]
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        lines.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    lines.insert(kinds.count(inspect.Parameter.POSITIONAL_ONLY), "/" * (inspect.Parameter.POSITIONAL_ONLY in kinds))
    yield f"{begin}("
    yield from (f"    {line}," for line in lines if line)
    yield f"){shown.rpartition(')')[2]}"


def _shown(parameter: inspect.Parameter, names: Mapping[str, Any]) -> inspect.Parameter:
    default = parameter.default
    if default is not parameter.empty:
        default = _Verbatim(_value(default, names))
    return parameter.replace(annotation=_verbatim(parameter.annotation), default=default)


def _verbatim(annotation: Any) -> Any:
    return _Verbatim(annotation) if isinstance(annotation, str) else annotation


def _value(value: Any, names: Mapping[str, Any]) -> str:
    """Return a value as text: a tuple that has a name among `names` by that, functions by theirs, long data by size."""
    if inspect.isroutine(value):
        return str(value.__name__)
    if not isinstance(value, tuple) or not value:
        return repr(value)
    constants = [name for name, each in names.items() if each is value]
    text = f"({', '.join(_value(each, {}) for each in value)})"
    return constants[0] if constants else text if len(text) <= 2 * MAX_WIDTH else f"({len(value)} items)"


if __name__ == "__main__":
    print(public_api(), end="")
