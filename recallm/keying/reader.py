"""One reading of values into canonical forms: how deep it is, what it has seen, what it may cost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from struct import Struct
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from recallm.errors import UnfingerprintableError
from recallm.keying.bookkeeping import NO_BOOKS, Books

if TYPE_CHECKING:
    from recallm.keying.watch import Watch

MAX_DEPTH = 100
"""How many values may lie inside each other: more of them could exhaust the stack."""

MAX_VALUES = 50_000
"""How many values one call may be read for: as many take up to a tenth of a second. A kilobyte of text, which takes a
microsecond, counts as one."""

_MAX_FORM_BYTES = 1024
"""Longer forms of containers are digested, so that what is shared n levels deep has no form of 2**n bytes."""

_NOWHERE = sys.maxsize


class UnreadableError(UnfingerprintableError):
    """A value cannot be read in full.

    Attributes:
        trail: the way to it, innermost step first: each the text that follows the name of what holds it (``.client``),
            and the class of what lies there.
        live: the class of the live object that it is; None: it is none.
    """

    def __init__(self, message: str, live: type | None = None) -> None:
        super().__init__(message)
        self.live = live
        self.trail: list[tuple[str, type]] = []


class Reader:
    """Reads the values of one call.

    A value that is met again is not read again. One that holds itself is written as how far back it was met: how many
    levels up the nearest value around it lies that is still being read, and how many values after that one it was met.

    Attributes:
        lenient: whether what cannot be read counts by its class alone, instead of ending the reading.
        watch: is told of all that was read and may change; None: nobody asks again.
    """

    __slots__ = ("_depth", "_kept", "_left", "_lowest", "_open", "_seen", "lenient", "watch")

    def __init__(self, *, lenient: bool = False, watch: Watch | None = None) -> None:
        self.lenient = lenient
        self.watch = watch
        self._seen: dict[int, bytes | tuple[int, int]] = {}
        self._open: list[tuple[int, list[int]]] = []
        # An id is a value's own only while the value lives.
        self._kept: list[object] = []
        self._depth = 0
        self._lowest = _NOWHERE
        self._left = MAX_VALUES

    def form(self, value: object) -> bytes:
        """Return the canonical form of `value`.

        Raises:
            UnreadableError: `value`, or something in it, has no canonical form.
        """
        raise NotImplementedError

    def is_own(self, module: str) -> bool:
        """Return whether a module belongs to the program whose function is cached, so that its code counts."""
        return False

    def class_form(self, cls: type) -> bytes:
        """Return bytes that tell the class of an object from others."""
        return type_path(cls)

    def class_value_form(self, cls: type, left_out: frozenset[str]) -> bytes:
        """Return bytes that tell a class, which is itself the value, from others.

        Args:
            cls: the class.
            left_out: names of attributes that do not count.
        """
        return self.class_form(cls)

    def module_form(self, module: ModuleType) -> bytes:
        """Return bytes that tell a module from others.

        Raises:
            UnreadableError: this reader reads no modules.
        """
        raise UnreadableError("a module cannot be read", type(module))

    def books(self, cls: type) -> Books:
        """Return in which attributes of its instances a class of the program only keeps books."""
        return NO_BOOKS

    def function_form(self, fn: Any) -> bytes:
        """Return bytes that tell a function from others.

        Raises:
            UnreadableError: this reader reads no functions.
        """
        raise UnreadableError(f"a {type(fn).__qualname__} has no canonical form here")

    def opaque_form(self, value: object) -> bytes:
        """Return what is told of an object, besides its class, that cannot be read."""
        return b""

    def spend(self, values: int) -> None:
        """Count that many values as read.

        Raises:
            UnreadableError: they are too many for one reading.
        """
        self._left -= values
        if self._left < 0:
            raise UnreadableError(f"more than {MAX_VALUES} values are too many to be read at each call")

    def enclosed(self, value: Any, size: int, write: Callable[[Any, Any], bytes]) -> bytes:
        """Return the form of a value that holds others.

        Args:
            value: the value.
            size: how many values lie in it.
            write: returns its form, given this reader too.

        Raises:
            UnreadableError: it lies too deep, or there is too much to be read.
        """
        known = self._seen.get(id(value))
        if known is not None:
            return known if isinstance(known, bytes) else self._met_again(*known)
        self.spend(size + 1)
        depth = self._depth + 1
        if depth > MAX_DEPTH + 1:
            raise UnreadableError(f"values nested deeper than {MAX_DEPTH} levels have no canonical form")
        self._kept.append(value)
        outer, self._lowest = self._lowest, _NOWHERE
        self._seen[id(value)] = depth, len(self._kept)
        self._open.append((len(self._kept), []))
        self._depth = depth
        form = write(value, self)
        if len(form) > _MAX_FORM_BYTES:
            form = b"#" + blake2b(form, digest_size=20).digest()
        self._depth = depth - 1
        self._close(value, form)
        self._lowest = min(outer, self._lowest)
        return form

    def _met_again(self, anchor: int, number: int) -> bytes:
        """Return the form of a value that lies in a circle of values which is being read: how far back it was met."""
        self._lowest = min(self._lowest, anchor)
        return b"^%d+%d" % (self._depth - anchor, number - self._open[anchor - 1][0])

    def _close(self, value: object, form: bytes) -> None:
        """End the reading of a value.

        If it holds something around it, its form holds in this place alone: until that is read to its end, the value
        is told by the number under which it was met.
        """
        number, inner = self._open.pop()
        if self._lowest > self._depth:
            for each in inner:
                del self._seen[each]
            self._seen[id(value)] = form
            self._lowest = _NOWHERE
            return
        _, around = self._open[self._lowest - 1]
        for each in (*inner, id(value)):
            known = self._seen[each]
            self._seen[each] = self._lowest, known[1] if isinstance(known, tuple) else number
            around.append(each)


def length_prefixed(tag: bytes, parts: Iterable[bytes]) -> bytes:
    """Return `parts` under `tag`, preceded by their number and their lengths."""
    parts = tuple(parts)
    count = len(parts)
    pack = _PACK[count] if count < len(_PACK) else Struct(f"<{count + 1}Q").pack
    return b"".join((tag, b":", pack(count, *map(len, parts)), *parts))


_PACK = tuple(Struct(f"<{count + 1}Q").pack for count in range(64))
"""For as many lengths as there often are, what packs them with their number."""

MAIN = ("__main__", "__mp_main__")
"""Names of the module that is the script which a process runs."""


def encoded(text: str) -> bytes:
    """Return a text as bytes, whatever characters it holds."""
    return text.encode("utf-8", "surrogatepass")


def module_path(name: str | None, names: Mapping[str, Any] | None = None) -> str:
    """Return the path of a module; a script's is that of the module which its file would be.

    Args:
        name: the module's name.
        names: its variables, if they are at hand; those of a script that this process does not run are not loaded.

    >>> module_path("json")
    'json'
    """
    if name not in MAIN:
        return name or "builtins"
    if names is None or names.get("__name__") not in MAIN:
        names = vars(sys.modules[name]) if name in sys.modules else {}
    spec, package = names.get("__spec__"), names.get("__package__")
    if spec is not None:
        return str(spec.name)
    stem = str(names.get("__file__") or "__main__").replace("\\", "/").rpartition("/")[2].removesuffix(".py")
    return f"{package}.{stem}" if package else stem or "__main__"


class Elsewhere:
    """The script that functions were sent from which this process does not run.

    Attributes:
        path: the path of the first such script's module; None: there is none.
    """

    path: str | None = None

    @classmethod
    def add(cls, path: str) -> None:
        """Have classes that are of a script, but not of the one that runs here, be those of this one."""
        if cls.path is None and path not in map(module_path, MAIN):
            cls.path = path


def class_module(cls: type, module: str, qualname: str) -> str:
    """Return the path of the module of a class, by the module's name and its own."""
    if module not in MAIN or Elsewhere.path is None:
        return module_path(module)
    for each in _NAMES_OF(cls).values():
        if type(each) is FunctionType and each.__globals__.get("__name__") in MAIN:
            return module_path(module, each.__globals__)
    own = vars(sys.modules[module]) if module in sys.modules else {}
    return module_path(module) if qualname.partition(".")[0] in own else Elsewhere.path


_NAMES_OF: Any = vars(type)["__dict__"].__get__
"""Reads the names that a class defines, whatever its metaclass does."""


def documentation(cls: type, doc: object) -> object:
    """Return the docstring of a class; in one that `dataclasses` wrote, a script has the name of its module."""
    if cls.__module__ not in MAIN or "__dataclass_fields__" not in _NAMES_OF(cls):
        return doc
    if not isinstance(doc, str) or not doc.startswith(f"{cls.__name__}("):
        return doc
    return doc.replace(f"{cls.__module__}.", f"{class_module(cls, cls.__module__, cls.__qualname__)}.")


def type_path(cls: type) -> bytes:
    """Return the dotted path of a class as bytes."""
    qualname = cls.__qualname__
    return encoded(f"{class_module(cls, cls.__module__, qualname)}.{qualname}")
