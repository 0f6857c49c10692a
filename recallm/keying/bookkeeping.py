"""What code only keeps books in: counters, logs and other records that it writes and never reads for an answer.

They change with every call, so they must not count; all else that changes must. In doubt a variable counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from types import CellType, CodeType, FunctionType
from typing import Any, NamedTuple

from recallm.keying.ignoring import COUNTER
from recallm.keying.objects import named_values
from recallm.keying.usage import Path, Usage, usage
from recallm.keying.watch import cell_value

_MAKERS = frozenset({"__init__", "__new__", "__post_init__", "__setstate__", "__attrs_post_init__"})
"""Methods that set an attribute for the first time."""

READING_ALL = frozenset(
    {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__repr__", "__replace__"}
)
"""Methods that read all of an object. Code that shows, compares or copies the object as a whole is seen to read it
itself."""


def records(used: Usage, path: Path, value: object) -> dict[str, Any]:
    """Return as a tree the attributes of a variable in which code keeps books.

    There are none if the code hands the variable on or calls a method of it: others may read what it writes there.
    """
    called = any(each[: len(path)] == path and len(each) == len(path) + 1 for each in used.called)
    names = used.attributes(path)
    if called or not names or path in used.reads or path in used.called:
        return {}
    held = vars(value) if isinstance(value, type) else named_values(value)
    return {name: {} for name in names if name in held and used.keeps_a_record((*path, name), held[name])}


def argument_records(fn: Any, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return by name the arguments in whose attributes a function keeps books, and these attributes as a tree.

    These are `self` and `cls` alone: what a function writes into other arguments may be what it is asked about.
    """
    code = getattr(fn, "__code__", None)
    if not isinstance(code, CodeType):
        return {}
    used = usage(code)
    found = {name: _own_records(used, (f"argument {name}",)) for name in names if name in ("self", "cls")}
    return {name: inner for name, inner in found.items() if inner}


def _own_records(used: Usage, path: Path) -> dict[str, Any]:
    called = any(each[: len(path)] == path and len(each) == len(path) + 1 for each in used.called)
    if called or path in used.reads:
        return {}
    found: dict[str, Any] = {}
    for name in used.attributes(path):
        attribute = (*path, name)
        if used.keeps_a_record(attribute, []) and not used.is_read(attribute):
            found[name] = {}
        elif used.keeps_a_record(attribute, 0):
            found[name] = COUNTER
    return found


class Leave(NamedTuple):
    """Which attributes a reading may leave out, as its function's methods only keep books in them.

    Attributes:
        reached: the methods that the function calls, with their classes.
        counted: names of attributes that count, as other code reads attributes of such a name.
        described: whether docstrings and annotations count, as code looks at them.
    """

    reached: frozenset[tuple[type, str]] = frozenset()
    counted: frozenset[str] = frozenset()
    described: bool = False


class Books(NamedTuple):
    """The attributes in which the methods that a function calls keep books.

    Attributes:
        records: those that they set or change and never read, unless they have set them themselves on the way.
        counters: those that they add to; they do not count while they are numbers.
    """

    records: frozenset[str] = frozenset()
    counters: frozenset[str] = frozenset()

    def uncounted(self, attributes: Mapping[str, Any]) -> frozenset[str]:
        """Return which of an object's attributes do not count."""
        if not self.records and not self.counters:
            return frozenset()
        counting = (name for name in self.counters if type(attributes.get(name)) in (int, float))
        return (self.records & attributes.keys()).union(counting)


NO_BOOKS = Books()


def books_of(classes: Sequence[type], reached: Collection[str]) -> Books:
    """Return the attributes, of a class's instances or its own, in which the methods that a function calls keep books.

    No other method sets these attributes or reads them. There are none if a method hands its object on, or looks at it
    in a way that tells no names.

    Args:
        classes: the class and its bases that belong to the program.
        reached: names of the methods that the function calls.
    """
    methods = [(name, usage(fn.__code__), _owners(cls, fn)) for cls in classes for name, fn in _functions_of(cls)]
    names = {name for name, _, _ in methods}
    run = _closure(reached, methods)
    grown: set[str] = set()
    written: set[str] = set()
    read: set[str] = set()
    elsewhere: set[str] = set()
    for name, used, owners in methods:
        for owner in owners if name not in READING_ALL else ():
            seen = _after(owner, used.reads, used.called)
            if owner in used.reads or any(each.startswith("__") for each in seen) or _unknown(owner, used, names):
                return NO_BOOKS
            if name in run:
                grown |= _after(owner, used.grown)
                written |= _after(owner, used.mutated, used.stored)
                read |= seen
            else:
                elsewhere |= seen | (_after(owner, used.stored) if name not in _MAKERS else set())
    records = (grown | written) - read - elsewhere
    return Books(frozenset(records), frozenset(grown - written - elsewhere))


def _owners(cls: type, fn: FunctionType) -> list[Path]:
    """Return how a method's code names its object or class."""
    first = fn.__code__.co_varnames[:1] if fn.__code__.co_argcount else ()
    return [*((f"argument {name}",) for name in first), (f"global {cls.__name__}",)]


def _closure(reached: Collection[str], methods: Sequence[tuple[str, Usage, list[Path]]]) -> set[str]:
    """Return the methods that run if some of them are called."""
    run: set[str] = set()
    pending = set(reached)
    while pending:
        run |= pending
        calls = (_after(owner, used.called) for name, used, owners in methods if name in pending for owner in owners)
        pending = set(chain.from_iterable(calls)) - run
    return run


def _unknown(owner: Path, used: Usage, names: Collection[str]) -> bool:
    """Return whether code calls a method of its object that the program does not define."""
    return any(len(path) == len(owner) + 1 and path[:-1] == owner and path[-1] not in names for path in used.called)


def _functions_of(cls: type) -> Iterable[tuple[str, FunctionType]]:
    for name, item in vars(cls).items():
        for fn in (getattr(item, "fget", item), getattr(item, "fset", None), getattr(item, "fdel", None)):
            inner = getattr(fn, "func", fn) if isinstance(fn, cached_property) else getattr(fn, "__func__", fn)
            inner = getattr(inner, "__wrapped__", inner) if not isinstance(inner, FunctionType) else inner
            if isinstance(inner, FunctionType):
                yield name, inner


def _after(owner: Path, *paths: Iterable[Path]) -> set[str]:
    """Return the attributes of an owner that paths lead to or through."""
    at = len(owner)
    return {path[at] for path in chain.from_iterable(paths) if len(path) > at and path[:at] == owner}


def called_methods(fn: FunctionType, used: Usage, cells: Mapping[str, CellType]) -> Iterator[tuple[object, str]]:
    """Yield the objects of which a function calls methods, as far as its code tells, with the methods' names."""
    for first, *steps in used.called:
        kind, _, name = first.partition(" ")
        value = fn.__globals__.get(name) if kind == "global" else cell_value(cells[name]) if name in cells else None
        yield _called(value, steps)


def reached_methods(
    owner: object, method: str, counts: Callable[[type], bool], known: Collection[tuple[type, str]]
) -> Iterator[tuple[type, str]]:
    """Yield a method that is called, with its class, and those that it calls in turn by way of its object.

    Args:
        owner: the object, or a class.
        method: the method's name.
        counts: returns whether a class belongs to the program; those of others are left out.
        known: the methods that are left out, as they were met before; those that are yielded may be added meanwhile.
    """
    pending = [(owner, method)]
    while pending:
        owner, method = pending.pop()
        cls = owner if isinstance(owner, type) else type(owner)
        if not counts(cls) or (cls, method) in known:
            continue
        yield cls, method
        fn = _attribute(cls, method)
        code = getattr(getattr(fn, "__func__", fn), "__code__", None)
        if isinstance(code, CodeType) and code.co_argcount and type(fn) is not staticmethod:
            own = f"argument {code.co_varnames[0]}"
            pending += [_called(owner, steps) for first, *steps in usage(code).called if first == own]


def _called(value: Any, steps: Sequence[str]) -> tuple[Any, str]:
    """Return the object or class, found in a variable's value, of which a method is called, and the method's name."""
    for step in steps[:-1]:
        value = _attribute(value, step)
    return value, steps[-1] if steps else "__call__"


def _attribute(value: Any, name: str) -> Any:
    """Return an attribute of an object or class as it lies there, or None; no code runs for it."""
    held = vars(value) if isinstance(value, type) else named_values(value)
    if name in held:
        return held[name]
    kinds = value.__mro__ if isinstance(value, type) else type(value).__mro__
    return next((vars(kind)[name] for kind in kinds if name in vars(kind)), None)


def own_object(fn: FunctionType) -> str | None:
    """Return how the code of a method names its object, or None if a function is not defined in a class."""
    around = fn.__qualname__.rpartition(".")[0]
    if not around or around.endswith("<locals>") or not fn.__code__.co_argcount:
        return None
    return f"argument {fn.__code__.co_varnames[0]}"
