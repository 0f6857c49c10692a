"""Which classes the responses of a function may have.

A class is known by its path. The class that lies there in a module that is loaded is the one that is meant; a class
that lies nowhere, such as a local one, is known if an annotation names it or if it was encoded in this process. A
class that is derived from the one at its path stands in for it: libraries, such as Instructor, make one for each call,
and the latest is meant.
"""

from __future__ import annotations

from typing import Any, TypeVar
from weakref import ref

from recallm.codec.annotations import classes_in
from recallm.codec.classes import ClassCodec, class_codec
from recallm.codec.lookup import MAX_PATH, is_data_class, loaded_class, path_of
from recallm.errors import UnknownTypeError

MAX_CLASSES = 10_000
"""How many paths of classes of what was encoded are remembered; a program may make a class for each answer."""

KEPT_CLASSES = 16
"""How many of the classes that were met last are kept alive, if nobody else does that: they may take 100 kB each."""

V = TypeVar("V")

_STAND_IN = "#"
_MRO_OF: Any = vars(type)["__mro__"].__get__


class KnownClasses:
    """The classes that the responses of one function may have.

    Args:
        closed: whether only those that are declared may be made and stored.
        process: marks the classes that are known to this process alone; empty: they are not marked.
    """

    def __init__(self, *, closed: bool = False, process: str = "") -> None:
        self._closed = closed
        self._mark = f"@{process}" if process else ""
        self._declared: dict[str, type | None] = {}
        # None: two classes have had the path. A dead class keeps its path: no other may pass for it.
        self._met: dict[str, ref[type] | None] = {}
        self._kept: dict[str, type] = {}
        self._codecs: dict[str, ClassCodec] = {}

    def declare(self, annotation: object) -> None:
        """Allow all classes that an annotation names."""
        for cls in classes_in(annotation):
            path = path_of(cls)
            known = self._declared.setdefault(path, cls)
            if known is not cls and loaded_class(path) is None:
                self._declared[path] = None

    def name(self, cls: type) -> str:
        """Return the name by which a payload refers to a class, from which it can be found again.

        Raises:
            LookupError: it could not be found, for the reason given.
        """
        path = path_of(cls)
        if self._closed and path not in self._declared:
            raise LookupError("which is not among response_types=")
        found = loaded_class(path, cls)
        if found is cls:
            self._met[path] = ref(cls)
            return path
        if found is not None and found in _MRO_OF(cls):
            self._met[path + _STAND_IN] = ref(cls)
            _put(self._kept, path + _STAND_IN, cls)
            return path + _STAND_IN
        if found is not None:
            raise LookupError("whose place in its module another class has taken since")
        if path in self._declared:
            if self._declared[path] is not cls:
                raise LookupError("of whose path there are two classes")
            return path
        if len(self._met) >= MAX_CLASSES and path not in self._met:
            raise LookupError("as answers of too many classes that lie in no module have been stored")
        self._met.setdefault(path, ref(cls))
        if self._class_met(path) is not cls:
            self._met[path] = None
            raise LookupError("of whose path there are two classes")
        _put(self._kept, path, cls)
        return path + self._mark

    def _class_met(self, path: str) -> type | None:
        """Return the class of a path that was met, if it was the only one and still lives."""
        known = self._met.get(path)
        return None if known is None else known()

    def codec(self, cls: type, path: str) -> ClassCodec:
        """Return what takes instances of a class apart.

        Raises:
            TypeError: nothing does.
        """
        known = self._codecs.get(path)
        if known is None or known.cls is not cls:
            known = class_codec(cls)
            if known is None:
                raise TypeError("instances of the class cannot be stored")
            _put(self._codecs, path, known)
        return known

    def find(self, name: str) -> type:
        """Return the class that a payload refers to.

        Raises:
            UnknownTypeError: this process does not know it, it is not allowed, or there are two of its path.
        """
        path, mark, process = name.partition("@")
        found = self._stand_in(path) if path.endswith(_STAND_IN) else self._found(path, mark + process)
        if found is None:
            is_local = bool(mark) or path.endswith(_STAND_IN)
            raise UnknownTypeError(shown_path(path.removesuffix(_STAND_IN)), of_process=is_local)
        return found

    def _stand_in(self, name: str) -> type | None:
        found = self._class_met(name)
        return found if found is not None and loaded_class(path_of(found)) in _MRO_OF(found) else None

    def _found(self, path: str, mark: str) -> type | None:
        if mark:
            return self._class_met(path) if mark == self._mark else None
        is_declared = path in self._declared
        found = loaded_class(path, self._class_met(path))
        if found is None:
            return self._declared[path] if is_declared else None if self._mark else self._class_met(path)
        if is_declared or self._class_met(path) is found:
            return found
        if self._closed or not is_data_class(found):
            return None
        self._met[path] = ref(found)
        return found


def _put(kept: dict[str, V], path: str, value: V) -> None:
    """Keep a value as the latest one, and forget those before the latest `KEPT_CLASSES`."""
    kept.pop(path, None)
    kept[path] = value
    for oldest in list(kept)[:-KEPT_CLASSES]:
        kept.pop(oldest, None)


def shown_path(path: str) -> str:
    """Return the path of a class if it is one, else an empty text: what a storage holds may be anybody's words."""
    plain = path.replace("<locals>", "locals")
    return path if len(path) <= MAX_PATH and all(part.isidentifier() for part in plain.split(".")) else ""
