"""Notices that something has changed since it was read, in far less time than reading it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from operator import attrgetter, is_, itemgetter
from types import CellType, FunctionType
from typing import Any

from recallm.concurrency.signals import let_through
from recallm.keying.objects import attributes_of

_CODE = attrgetter("__code__", "__defaults__", "__kwdefaults__")


class Watch:
    """Compares what was read with what is there now, by identity and object by object.

    An object that has taken the place of an equal one counts as a change: to read again is dear, but never wrong.
    """

    def __init__(self) -> None:
        self._namespaces: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = {}
        self._absent: list[tuple[Mapping[str, Any], set[str]]] = []
        self._picked: list[tuple[Mapping[str, Any], Callable[[Any], Any], tuple[Any, ...]]] = []
        self._checks: list[Callable[[], bool]] | None = None
        self._functions: list[FunctionType] = []
        self._codes: list[Any] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._items: list[tuple[Any, list[Any]]] = []
        self._mappings: list[tuple[Mapping[Any, Any], list[Any], list[Any]]] = []
        self._attributes: list[tuple[type, object, list[Any], list[Any]]] = []
        self._states: list[tuple[Callable[[], list[Any]], list[Any]]] = []
        self._contents: list[tuple[Callable[[], object], object]] = []

    def unchanged(self) -> bool:
        """Return whether all is as it was read."""
        if self._checks is None:
            self._checks = self._needed_checks()
        try:
            for check in self._checks:
                if not check():
                    return False
        except Exception as error:  # noqa: BLE001  # a name is gone, a mapping changes right now, or an object is of another class
            let_through(error)
            return False
        return True

    def _needed_checks(self) -> list[Callable[[], bool]]:
        """Return the checks of what there is, the cheapest first."""
        self._picked = [_picking(*each) for each in self._namespaces.values() if each[1]]
        checks = [
            (self._functions, self._functions_are_unchanged),
            (self._picked, self._names_are_unchanged),
            (self._absent, self._absent_are_absent),
            (self._cells, self._cells_are_unchanged),
            (self._items, self._items_are_unchanged),
            (self._mappings, self._mappings_are_unchanged),
            (self._attributes, self._attributes_are_unchanged),
            (self._states, self._states_are_unchanged),
            (self._contents, self._contents_are_unchanged),
        ]
        return [check for there, check in checks if there]

    def _functions_are_unchanged(self) -> bool:
        return all(map(is_, chain.from_iterable(map(_CODE, self._functions)), self._codes))

    def _names_are_unchanged(self) -> bool:
        return all(all(map(is_, pick(namespace), seen)) for namespace, pick, seen in self._picked)

    def _absent_are_absent(self) -> bool:
        return all(namespace.keys().isdisjoint(absent) for namespace, absent in self._absent)

    def _cells_are_unchanged(self) -> bool:
        return all(cell_value(cell) is seen for cell, seen in self._cells)

    def _items_are_unchanged(self) -> bool:
        return all(_same(items, seen) for items, seen in self._items)

    def _mappings_are_unchanged(self) -> bool:
        return all(_same(each, keys) and _same(each.values(), values) for each, keys, values in self._mappings)

    def _attributes_are_unchanged(self) -> bool:
        for cls, value, keys, values in self._attributes:
            held = attributes_of(value)
            if not (type(value) is cls and _same(held, keys) and _same(held.values(), values)):
                return False
        return True

    def _states_are_unchanged(self) -> bool:
        return all(_same(read(), seen) for read, seen in self._states)

    def _contents_are_unchanged(self) -> bool:
        return all(read() == known for read, known in self._contents)

    def function(self, fn: FunctionType) -> None:
        """Watch a function's code and defaults."""
        self._functions.append(fn)
        self._codes += _CODE(fn)
        if fn.__kwdefaults__:
            self.mapping(fn.__kwdefaults__)

    def names(self, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
        """Watch what these names mean in a namespace, some of which may have no meaning yet."""
        _, known = self._namespaces.setdefault(id(namespace), (namespace, {}))
        absent = set()
        for name in names:
            if name in namespace:
                known.setdefault(name, namespace[name])
            else:
                absent.add(name)
        if absent:
            self._absent.append((namespace, absent))

    def cell(self, cell: CellType) -> Any:
        """Watch a closed-over variable; return its value, or `UNSET`."""
        value = cell_value(cell)
        self._cells.append((cell, value))
        return value

    def items(self, value: Any) -> None:
        """Watch the items of a list, set or the like."""
        self._items.append((value, list(value)))

    def mapping(self, value: Mapping[Any, Any]) -> None:
        """Watch the keys and the values of a mapping."""
        self._mappings.append((value, list(value), list(value.values())))

    def attributes(self, value: object) -> None:
        """Watch the attributes of an object."""
        held = attributes_of(value)
        self._attributes.append((type(value), value, list(held), list(held.values())))

    def state(self, read: Callable[[], list[Any]]) -> None:
        """Watch what a function lists, object by object."""
        self._states.append((read, read()))

    def content(self, read: Callable[[], object]) -> None:
        """Watch what a function returns, which is compared by its value."""
        self._contents.append((read, read()))


def _picking(
    namespace: Mapping[str, Any], known: dict[str, Any]
) -> tuple[Mapping[str, Any], Callable[[Any], Any], tuple[Any, ...]]:
    names = tuple(known)
    # Two names at least, for which `itemgetter` returns a tuple.
    pick = itemgetter(*names, names[0])
    return namespace, pick, (*known.values(), known[names[0]])


def _same(items: Any, seen: list[Any]) -> bool:
    return len(items) == len(seen) and all(map(is_, items, seen))


class _Unset:
    """Stands for the value of a closed-over variable that has none."""


UNSET = _Unset()


def cell_value(cell: CellType) -> Any:
    """Return the value of a closed-over variable, or `UNSET`."""
    try:
        return cell.cell_contents
    except ValueError:
        return UNSET
