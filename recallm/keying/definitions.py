"""What a function or class is: its code and all that the code reads, as bytes.

Written with it are its defaults, the closed-over variables and the module globals that it names, and in the same way
the functions and classes among these that belong to the same program. What cannot be read, such as a client, counts by
its class, and what a function itself sets or keeps a record in counts by nothing.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import WRAPPER_ASSIGNMENTS, cached_property, lru_cache, partial
from hashlib import blake2b
from itertools import chain
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from recallm.keying.bookkeeping import (
    NO_BOOKS,
    READING_ALL,
    Books,
    Leave,
    books_of,
    called_methods,
    own_object,
    reached_methods,
    records,
)
from recallm.keying.canonical import ValueReader
from recallm.keying.code import code_form
from recallm.keying.containers import attributes_form
from recallm.keying.ignoring import Ignore, merged, without
from recallm.keying.live import is_live
from recallm.keying.objects import is_pydantic_class, named_values
from recallm.keying.reader import UnreadableError, documentation, encoded, length_prefixed, module_path, type_path
from recallm.keying.scope import Scope
from recallm.keying.tokens import Opaque
from recallm.keying.usage import ITEM, Import, Path, Usage, usage
from recallm.keying.watch import UNSET, Watch, cell_value
from recallm.keying.wrappers import is_wrapt_wrapper

MAX_DEFINITIONS = 500
"""How many functions and classes are read for one function; those further from it than the nearest so many count by
their names and their own code alone."""

_LRU_CACHE = type(lru_cache(str))


class Definitions(ValueReader):
    """Reads one function or class, and the functions and classes that belong to it.

    Args:
        scope: whose code counts.
        ignore: names of variables, and of what is in them, that do not count.
        watch: is told of all that was read and may change.
        also: a module whose code counts too.
        leave: what an earlier reading has found out of the attributes that do not count.
        opaque: knows the objects that cannot be read; None: they count by their classes alone.
        detailed: whether the attributes of the program's objects are named, too.

    Attributes:
        reached: the methods that the code calls, with their classes.
        read: names of the attributes that the code reads.
        describes: whether the code looks at how functions are written.
        missing: names of modules that the code imports when it runs, and that nobody has imported yet.
        named: by name, a digest of each variable that was read, to tell which of them has changed.
    """

    __slots__ = (
        "_also", "_books", "_counted", "_defined_here", "_described", "_detailed", "_ignore", "_met", "_numbers",
        "_opaque", "_parts", "_pending", "_reached", "_root", "_scope", "_watch", "describes", "missing", "named",
        "reached", "read",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        ignore: Ignore,
        watch: Watch,
        *,
        also: str | None = None,
        leave: Leave | None = None,
        opaque: Opaque | None = None,
        detailed: bool = False,
    ) -> None:
        super().__init__(lenient=True, watch=watch)
        self._watch = watch
        self._reached, self._counted, self._described = leave or Leave()
        self._root: Any = None
        self._opaque = opaque
        self._detailed = detailed
        self._met = 0
        self.reached: set[tuple[type, str]] = set()
        self.read: set[str] = set()
        self.describes = False
        self._books: dict[type, Books] = {}
        self._scope = scope
        self._ignore = ignore
        self._also = also
        self._numbers: dict[tuple[object, ...], int] = {}
        self._defined_here: list[object] = []
        self._parts: list[bytes] = []
        self._pending: deque[Callable[[], bytes]] = deque()
        self.missing: list[str] = []
        self.named: dict[str, bytes] = {}

    def digest(self, first: bytes) -> bytes:
        """Return the digest of a form that this reader has written, with all that it refers to."""
        while self._pending:
            self._parts.append(self._pending.popleft()())
        return blake2b(length_prefixed(b"D", [first, *self._parts]), digest_size=20).digest()

    def is_own(self, module: str) -> bool:
        """Return whether a module's code counts."""
        return module == self._also or self._scope.owns(module)

    def books(self, cls: type) -> Books:
        """Return in which attributes a class only keeps books, as far as the code that was read leaves them alone."""
        if not self._counts(cls):
            return NO_BOOKS
        known = self._books.get(cls)
        if known is None:
            reached = {name for owner, name in self._reached if issubclass(cls, owner)}
            own = [kind for kind in cls.__mro__ if self._counts(kind)]
            found = books_of(own, reached) if reached else NO_BOOKS
            known = self._books[cls] = Books(found.records - self._counted, found.counters - self._counted)
        return known

    def conflicts(self) -> frozenset[str]:
        """Return the names of attributes that were left out, though other code reads attributes of such a name."""
        kept = chain.from_iterable(chain(*books) for books in self._books.values())
        return frozenset(name for name in kept if name in self.read)

    def opaque_form(self, value: object) -> bytes:
        """Return nothing of the first object that was met in this place, and of a later one what tells it from others.

        So another process may share the answers, and in this one a table that is loaded anew is another one.
        """
        if self._opaque is None:
            return b""
        self._met += 1
        return self._opaque.told(self._met, value)

    def class_form(self, cls: type) -> bytes:
        """Return bytes that tell the class of an object from others."""
        return self._class_reference(cls, frozenset(), described=False)

    def class_value_form(self, cls: type, left_out: frozenset[str]) -> bytes:
        """Return bytes that tell a class from others, its docstring included."""
        return self._class_reference(cls, left_out, described=True)

    def function_form(self, fn: Any) -> bytes:
        """Return bytes that tell a function from others, its docstring and annotations included: it is passed on."""
        return self.callable_form(fn, described=True)

    def module_form(self, module: ModuleType) -> bytes:
        """Return bytes that tell a module that lies in a value from others: all that one of the program holds."""
        if not self.is_own(module.__name__):
            return encoded(module.__name__)
        return self._reference((id(module), "module"), module, lambda: self._whole_module(module))

    def root_form(self, fn: Any) -> bytes:
        """Return bytes that tell the function that is cached from others; ``"self"`` may be ignored for it alone."""
        self._root = fn
        return self.callable_form(fn)

    def callable_form(self, fn: Any, *, described: bool = False) -> bytes:
        """Return bytes that tell what can be called from others.

        Args:
            fn: a function, method, partial, class or callable object.
            described: whether its docstring and annotations count, as they do for the tools of a model.
        """
        cls = type(fn)
        if cls is FunctionType:
            return self._reference((id(fn), described), fn, lambda: self._function(fn, described))
        if cls is MethodType:
            self._note_call(fn.__self__, fn.__name__)
            owner = self._owner_form(fn.__func__, fn.__self__, "self" if fn is self._root else "")
            return length_prefixed(b"method", [self.callable_form(fn.__func__, described=described), owner])
        if issubclass(cls, partial):
            if fn.args:
                self._note_call(fn.args[0], getattr(fn.func, "__name__", ""))
            parts = [self.form(fn.args), self.form(fn.keywords)]
            return length_prefixed(b"partial", [self.callable_form(fn.func, described=described), *parts])
        if issubclass(cls, (staticmethod, classmethod)):
            return length_prefixed(encoded(cls.__name__), [self.callable_form(fn.__func__, described=described)])
        if issubclass(cls, property):
            return length_prefixed(b"property", [self.form(part) for part in (fn.fget, fn.fset, fn.fdel)])
        if cls is _LRU_CACHE:
            return length_prefixed(b"cached", [self.callable_form(fn.__wrapped__, described=described)])
        if issubclass(cls, type):
            return self._class_reference(fn, frozenset(), described=described)
        return self._object_form(fn)

    def _object_form(self, fn: Any) -> bytes:
        """Return the form of a callable that is no function of Python."""
        cls = type(fn)
        if is_wrapt_wrapper(cls):
            # A proxy: what is its own has names of its own.
            inner = [self.callable_form(fn.__wrapped__)]
            if not is_live(cls):
                inner.append(self.form(getattr(fn, "_self_wrapper", None)))
            return length_prefixed(b"wrapt", inner)
        if cls.__module__ == "builtins":
            owner = getattr(fn, "__self__", None)
            path = f"{getattr(fn, '__module__', None)}.{getattr(fn, '__qualname__', cls.__qualname__)}"
            return length_prefixed(
                b"builtin", [encoded(path), b"" if isinstance(owner, ModuleType) else self.form(owner)]
            )
        call = cls.__call__
        self._note_call(fn, "__call__")
        written = type(call) is FunctionType and self.is_own(cls.__module__)
        code = self.callable_form(call) if written else type_path(cls)
        return length_prefixed(b"object", [code, self._owner_form(call, fn, "self" if fn is self._root else "")])

    def _owner_form(self, fn: Any, owner: Any, name: str) -> bytes:
        """Return the form of the object or class that a method is bound to, without what the method sets there."""
        code = getattr(fn, "__code__", None)
        first = f"argument {code.co_varnames[0]}" if code is not None and code.co_argcount else "argument self"
        used = usage(code) if code is not None else Usage()
        if "__wrapped__" in named_values(owner):
            # What `functools.update_wrapper` copies tells how the wrapped function is written.
            owner = without(owner, {name: {} for name in WRAPPER_ASSIGNMENTS})
        return self._variable(name, (first,), owner, used)

    def _reference(self, key: tuple[object, ...], value: object, write: Callable[[], bytes]) -> bytes:
        """Return the number of a definition, which is written after this one."""
        number = self._numbers.get(key)
        if number is None:
            if len(self._defined_here) >= MAX_DEFINITIONS:
                return b"@further " + _further(value)
            number = self._numbers[key] = len(self._defined_here)
            self._defined_here.append(value)
            self._pending.append(write)
        return b"@%d" % number

    def _function(self, fn: FunctionType, described: bool) -> bytes:
        self._watch.function(fn)
        code = fn.__code__
        written, free = code_form(code)
        used = usage(code)
        if fn.__name__ not in READING_ALL:
            self.read.update(used.attributes_read(own_object(fn)))
        cells = dict(zip(code.co_freevars, fn.__closure__ or (), strict=True))
        for owner, method in called_methods(fn, used, cells):
            self._note_call(owner, method)
        self.describes = self.describes or not _DESCRIPTIONS.isdisjoint((*used.names, *used.attributes_read()))
        parts = [written, *(self._cell(name, cells[name], used) for name in free), *self._defaults(fn, used)]
        parts.append(self._own_attributes(fn, used))
        if described or self._described:
            self._watch.state(lambda: [fn.__name__, fn.__doc__, fn.__annotations__])
            parts += [encoded(f"{fn.__name__}\0{fn.__doc__}"), self.form(fn.__annotations__)]
        if self.is_own(fn.__globals__.get("__name__", "")):
            parts += [self._globals(fn.__globals__, used), *(self._imported(fn, each) for each in used.imports)]
        return length_prefixed(b"function", parts)

    def _note_call(self, owner: Any, method: str) -> None:
        """Note a method of the program's that is called, and those that it calls in turn by way of its object."""
        for called in reached_methods(owner, method, self._counts, self.reached):
            self.reached.add(called)

    def _cell(self, name: str, cell: Any, used: Usage) -> bytes:
        path = (f"closed-over {name}",)
        value = cell_value(cell)
        if not used.keeps_a_record(path, value):
            value = self._watch.cell(cell)
        if name == "__class__" and isinstance(value, type):
            return type_path(value)
        return self._variable(name, path, value, used)

    def _defaults(self, fn: FunctionType, used: Usage) -> Iterable[bytes]:
        positional = fn.__code__.co_varnames[: fn.__code__.co_argcount]
        defaults = fn.__defaults__ or ()
        named = [*zip(positional[len(positional) - len(defaults) :], defaults, strict=False)]
        for name, value in [*named, *sorted((fn.__kwdefaults__ or {}).items())]:
            yield encoded(name) + b"=" + self._variable(name, (f"default {name}",), value, used)

    def _own_attributes(self, fn: FunctionType, used: Usage) -> bytes:
        """Return the form of what was set on a function, but for what it sets there itself."""
        held = vars(fn)
        own = {path[1] for path in chain(used.stored, used.grown, used.mutated) if len(path) == 2}
        counted = [name for name in held if name not in own]
        self._watch.names(held, counted)
        self._watch.content(held.__len__)
        return attributes_form({name: held[name] for name in counted}, self)

    def _globals(self, namespace: dict[str, Any], used: Usage) -> bytes:
        names = [name for name in used.names if not used.keeps_a_record((f"global {name}",), namespace.get(name))]
        self._watch.names(namespace, names)
        parts = []
        for name in used.names:
            if name in namespace:
                parts += [encoded(name), self._variable(name, (f"global {name}",), namespace[name], used)]
        return length_prefixed(b"globals", parts)

    def _imported(self, fn: FunctionType, wanted: Import) -> bytes:
        """Return the form of what a function imports when it runs."""
        package = str(fn.__globals__.get("__package__") or "").split(".")
        above = package[: len(package) - wanted.level + 1] if wanted.level else []
        name = ".".join([*filter(None, above), *filter(None, [wanted.module])])
        if not self.is_own(name):
            return b"library"
        module, within = sys.modules.get(name), f"{name}.{wanted.name}"
        self._watch.names(sys.modules, [name, within])
        if module is None:
            self.missing.append(name)
            return b"missing"
        if wanted.name is None or wanted.name == "*":
            return self._whole_module(module)
        inner = sys.modules.get(within)
        if inner is not None:
            return self._whole_module(inner)
        if wanted.name not in vars(module):
            self.missing.append(within)
        path = (f"global {wanted.name}",)
        return self._module(module, {wanted.name: path}, Usage(reads={path}))

    def _whole_module(self, module: ModuleType) -> bytes:
        """Return the form of all that the names of a module mean, but for other modules."""
        own = [name for name, item in vars(module).items() if not isinstance(item, ModuleType)]
        paths: dict[str, Path] = {name: (f"global {name}",) for name in own if not name.startswith("__")}
        return self._module(module, paths, Usage(reads=set(paths.values())))

    def _module(self, module: ModuleType, paths: Mapping[str, Path], used: Usage) -> bytes:
        """Return the form of what some names mean in a module of the program, each known to `used` by a path."""
        held = vars(module)
        self._watch.names(held, paths)
        parts = []
        for name in sorted(paths):
            if name in held:
                parts += [encoded(name), self._variable(name, paths[name], held[name], used)]
        return length_prefixed(b"module", parts)

    def _variable(self, name: str, path: Path, value: Any, used: Usage) -> bytes:
        """Return the form of a variable's value, but for what the code itself sets."""
        ignore = self._ignore.get(name)
        if ignore is not None and not ignore:
            return IGNORED_FORM
        if used.keeps_a_record(path, value) or (used.writes(path) and (value is None or is_live(type(value)))):
            return b"own"
        if value is UNSET:
            return b"unset"
        if issubclass(type(value), ModuleType):
            return self._module_variable(path, value, used)
        try:
            written = self._value_form(path, value, merged(records(used, path, value), ignore or {}), used)
        except UnreadableError as error:
            error.trail.append((name, type(value)))
            raise
        self._name(name, written)
        if self._detailed and name and self._counts(type(value)):
            held = named_values(value)
            for attribute in held.keys() - self.books(type(value)).uncounted(held) - (ignore or {}).keys():
                self._name(f"{name}.{attribute}", self.form(held[attribute]))
        return written

    def _name(self, name: str, written: bytes) -> None:
        self.named.setdefault(name, blake2b(written, digest_size=8).digest())

    def _module_variable(self, path: Path, module: ModuleType, used: Usage) -> bytes:
        if not self.is_own(module.__name__):
            return b"library"
        names = used.attributes(path)
        if path in used.reads or not names:
            return self._whole_module(module)
        return self._module(module, {name: (*path, name) for name in names}, used)

    def _value_form(self, path: Path, value: Any, ignore: Ignore, used: Usage) -> bytes:
        cls = type(value)
        at = len(path)
        of_it = {read[at] for read in used.reads if len(read) > at and read[:at] == path}
        described = path in used.reads or any(name == ITEM or name.startswith("__") for name in of_it)
        if issubclass(cls, type) and not ignore:
            return self._handed_on(self._class_reference(value, frozenset(), described=described), value, of_it)
        if cls is FunctionType and path[0].startswith("global") and not self._is_followed(value):
            return encoded(f"{value.__module__}.{value.__qualname__}")
        if (cls in (FunctionType, MethodType, BuiltinFunctionType, partial) or is_wrapt_wrapper(cls)) and not ignore:
            return self.callable_form(value, described=described)
        if path in used.reads:
            # It is handed on as a whole: whoever gets it may read the books that its class keeps.
            self.read.update(*self.books(cls))
        return self._handed_on(self.form(without(value, ignore)), cls, of_it)

    def _handed_on(self, written: bytes, cls: type, names: Iterable[str]) -> bytes:
        """Return a form with those of the methods among some attributes, docstrings and annotations included.

        They are not called but handed on, as the tools of a model are.
        """
        own = [vars(kind) for kind in cls.__mro__ if self._counts(kind)]
        found = [next((held[name] for held in own if name in held), None) for name in sorted(names)]
        methods = [each for each in found if type(each) in (FunctionType, staticmethod, classmethod)]
        forms = [self.callable_form(each, described=True) for each in methods]
        return length_prefixed(b"methods", [written, *forms]) if forms else written

    def _is_followed(self, fn: FunctionType) -> bool:
        """Return whether a function that code names is read: the program's own, or one that may wrap such a one."""
        return self.is_own(fn.__globals__.get("__name__", "")) or "__wrapped__" in vars(fn)

    def _class_reference(self, cls: type, left_out: frozenset[str], *, described: bool) -> bytes:
        if not self._counts(cls):
            return type_path(cls)
        described = described or is_pydantic_class(cls)
        key = (id(cls), left_out, described)
        return type_path(cls) + self._reference(key, cls, lambda: self._class(cls, left_out, described))

    def _counts(self, cls: type) -> bool:
        return self.is_own(cls.__module__) and cls.__module__ != "builtins"

    def _class(self, cls: type, left_out: frozenset[str], described: bool) -> bytes:
        self._watch.state(lambda: list(cls.__mro__))
        parts = [self.class_form(type(cls))]
        books = self.books(cls)
        for kind in cls.__mro__:
            parts.append(type_path(kind))
            if self._counts(kind):
                parts.append(self._defined(kind, left_out | books.uncounted(vars(kind)), described))
        return length_prefixed(b"class", parts)

    def _defined(self, kind: type, left_out: frozenset[str], described: bool) -> bytes:
        """Return the form of what the body of a class defines."""
        held = vars(kind)
        skipped = _INCIDENTAL | left_out | (frozenset() if described else {"__doc__"})
        if left_out:
            self._watch.names(held, [name for name in held if name not in left_out])
            self._watch.content(lambda: len(held))
        else:
            self._watch.mapping(held)
        parts = []
        for name in sorted(held):
            if name not in skipped and not (name.startswith("__pydantic_") and name not in _PYDANTIC):
                item = documentation(kind, held[name]) if name == "__doc__" else held[name]
                parts += [encoded(name), self._member_form(item)]
        return length_prefixed(b"defined", parts)

    def _member_form(self, item: Any) -> bytes:
        if type(item) in (FunctionType, staticmethod, classmethod):
            return self.callable_form(item)
        if isinstance(item, cached_property):
            return length_prefixed(b"cached property", [self.callable_form(item.func)])
        if isinstance(item, MemberDescriptorType | GetSetDescriptorType):
            # A slot, which is another object in each class, but says no more than its name.
            return type_path(type(item))
        return self.form(item)


IGNORED_FORM = b"-"

_DESCRIPTIONS = frozenset({"__doc__", "__annotations__", "getdoc", "getsource", "get_type_hints", "signature"})
"""Names by which code looks at how functions are written."""

_PYDANTIC = frozenset({"__pydantic_fields__"})
"""What pydantic keeps in a class and does not derive from the rest."""

_INCIDENTAL = frozenset(
    """
    __module__ __qualname__ __dict__ __weakref__ __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl
    __annotations_cache__ __annotate_func__ __hash__ __slotnames__ __signature__ __attrs_attrs__ __match_args__
    __parameters__ __non_callable_proto_members__ _is_runtime_protocol __class_getitem__
    """.split()
)
"""Names in a class that say nothing of what it does."""


def _further(value: Any) -> bytes:
    """Return what is told of a function or class that is not read."""
    module = module_path(getattr(value, "__module__", None), getattr(value, "__globals__", None))
    path = type_path(value) if isinstance(value, type) else encoded(f"{module}.{getattr(value, '__qualname__', None)}")
    written = code_form(code)[0] if isinstance(code := getattr(value, "__code__", None), CodeType) else b""
    return path + blake2b(written, digest_size=8).digest()
