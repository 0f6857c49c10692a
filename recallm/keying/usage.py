"""What a function's code does with the variables it names: reads them, sets them, or merely keeps a record in them.

Variables are followed through one symbolic run of the code, in the order of its instructions. Where the run loses sight
of one, as it does at a jump, the variable counts as read.
"""

from __future__ import annotations

import dis
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from types import CodeType
from typing import NamedTuple, TypeAlias

from recallm.keying.attached import Attached

Path: TypeAlias = tuple[str, ...]
"""A variable, by its kind and name (``"global MODEL"``), and the attributes that lead on from it."""

ITEM = "[]"
"""Stands in a path for any item of a container."""

_MUTATORS = frozenset(
    """
    add append appendleft clear difference_update discard extend extendleft insert intersection_update move_to_end pop
    popitem popleft remove reverse rotate setdefault sort subtract symmetric_difference_update update
    """.split()
)
"""The methods by which the containers of the standard library are changed in place."""

_CONTAINERS = (list, dict, set, deque, bytearray)

_NULL_ON_TOP = sys.version_info >= (3, 13)


class Import(NamedTuple):
    """A module that code imports when it runs, and a name that it takes from it, or None."""

    level: int
    module: str
    name: str | None


class _Grown(NamedTuple):
    """The result of an operation on a variable, such as ``n + 1``."""

    path: Path


_Item: TypeAlias = "Path | _Grown | None"


@dataclass
class Usage:
    """What code does with its variables.

    Attributes:
        names: the globals that it names, in the order in which it names them.
        reads: what it reads as a value.
        called: what it calls.
        stored: what it sets to something else than a growth of itself.
        grown: what it sets to the result of an operation on itself, as counters are.
        mutated: what it changes in place.
        loose: attributes that it reads of something else than a variable.
        imports: what it imports when it runs.
    """

    names: dict[str, None] = field(default_factory=dict)
    reads: set[Path] = field(default_factory=set)
    called: set[Path] = field(default_factory=set)
    stored: set[Path] = field(default_factory=set)
    grown: set[Path] = field(default_factory=set)
    mutated: set[Path] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    imports: dict[Import, None] = field(default_factory=dict)

    def writes(self, path: Path) -> bool:
        """Return whether the code sets a variable, or changes it in place."""
        return path in self.stored or path in self.grown or path in self.mutated

    def is_read(self, path: Path) -> bool:
        """Return whether the code reads a variable, or anything in it."""
        return any(each[: len(path)] == path for each in chain(self.reads, self.called))

    def attributes(self, path: Path) -> set[str]:
        """Return the attributes of a variable that the code names."""
        known = chain(self.reads, self.called, self.stored, self.grown, self.mutated)
        return {each[len(path)] for each in known if len(each) > len(path) and each[: len(path)] == path} - {ITEM}

    def attributes_read(self, owner: str | None = None) -> Iterator[str]:
        """Yield the names of all attributes that the code reads, of whatever but the variable `owner`."""
        yield from self.loose
        for path in chain(self.reads, self.called):
            if path[0] != owner:
                yield from path[1:]

    def keeps_a_record(self, path: Path, value: object) -> bool:
        """Return whether the code only keeps a record in a variable: it writes there and never reads it, or counts on.

        Args:
            path: the variable.
            value: what it holds now.
        """
        if not self.writes(path) or (path in self.mutated and not isinstance(value, _CONTAINERS)):
            return False
        if not self.is_read(path):
            return True
        counts = path in self.grown and path not in self.stored and path not in self.mutated
        return counts and type(value) in (int, float)


_KNOWN: Attached[Usage] = Attached()


def usage(code: CodeType) -> Usage:
    """Return what code, and the functions defined in it, do with globals, closed-over variables and arguments."""
    known = _KNOWN.get(code)
    if known is not None:
        return known
    found = Usage()
    _follow(code, found, set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]), set(code.co_freevars))
    return _KNOWN.keep(code, found)


def _follow(code: CodeType, found: Usage, given: set[str], free: set[str]) -> None:
    run = _Run(code, found, given, free)
    run.run()
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            # A name that the inner code, or one between, has for itself is not among its closed-over variables.
            _follow(inner, found, run.given & {*inner.co_freevars}, free & {*inner.co_freevars})


class _Run:
    """One symbolic run.

    Args:
        code: the code.
        found: what it does is added here.
        given: names of arguments, of this code or the one around it, that are followed.
        free: names of closed-over variables that are followed.
    """

    def __init__(self, code: CodeType, found: Usage, given: set[str], free: set[str]) -> None:
        self._code = code
        self._found = found
        self._stack: list[_Item] = []
        self._constants: list[object] = []
        # What was set on the way here, whichever way that was: to read it is not to read what it was before.
        self._fresh: set[Path] = set()
        self._added: set[Path] = set()
        self._following = ""
        self._free = free
        self._cells = {*code.co_cellvars, *code.co_freevars}
        self._steps = list(dis.get_instructions(code))
        rebound = given.intersection(chain.from_iterable(map(_rebound, self._steps)))
        found.reads.update((f"argument {name}",) for name in rebound)
        self.given = given - rebound

    def run(self) -> None:
        effective = [step for step in self._steps if step.opname not in ("CACHE", "EXTENDED_ARG", "NOP")]
        for step, following in zip(effective, [*effective[1:], None], strict=True):
            self._following = "" if following is None else following.opname
            if step.is_jump_target or step.opname == "PUSH_EXC_INFO":
                self._fresh.clear()
                self._added.clear()
            handle = _HANDLERS.get(step.opname)
            if handle is not None:
                handle(self, step)
            else:
                self._other(step)
        self._lose_all()

    def _pop(self) -> _Item:
        return self._stack.pop() if self._stack else None

    def _read(self, item: _Item) -> None:
        if isinstance(item, _Grown):
            self._found.reads.add(item.path)
        elif item is not None:
            self._found.reads.add(item)

    def _consume(self, count: int = 1) -> None:
        for _ in range(count):
            self._read(self._pop())

    def _mutate(self, path: Path) -> None:
        """Note that a container is changed in place, and whatever holds a list that grows."""
        while True:
            self._found.mutated.add(path)
            self._added.add(path)
            if path[-1] != ITEM:
                break
            path = path[:-1]

    def _lose_all(self) -> None:
        self._consume(len(self._stack))

    def _variable(self, name: str) -> _Item:
        if name in self._free:
            path = (f"closed-over {name}",)
            return None if path in self._fresh else path
        return (f"argument {name}",) if name in self.given else None

    def _local(self, name: str) -> _Item:
        # Python 3.13 loads cells like local variables, to hand them to inner functions; that is not to read them.
        return None if name in self._cells else self._variable(name)

    def load_global(self, step: dis.Instruction) -> None:
        name = str(step.argval)
        self._found.names[name] = None
        path = (f"global {name}",)
        item = None if path in self._fresh else path
        pushed = [item]
        if step.opname == "LOAD_GLOBAL" and step.arg and step.arg & 1:
            pushed = [item, None] if _NULL_ON_TOP else [None, item]
        self._stack += pushed

    def load_variable(self, step: dis.Instruction) -> None:
        local = step.opname.startswith("LOAD_FAST")
        self._stack += [self._local(name) if local else self._variable(name) for name in _names(step)]

    def load_global_over(self, step: dis.Instruction) -> None:
        self._consume()
        self.load_global(step)

    def load_variable_over(self, step: dis.Instruction) -> None:
        self._consume()
        self.load_variable(step)

    def load_attribute(self, step: dis.Instruction) -> None:
        owner, name = self._pop(), str(step.argval)
        item: _Item = None
        if isinstance(owner, tuple) and not isinstance(owner, _Grown):
            if (*owner, name) not in self._fresh:
                item = (*owner, name)
        else:
            self._read(owner)
            self._found.loose.add(name)
        self._stack += [item, None] if dis.stack_effect(step.opcode, step.arg) else [item]

    def store_and_load(self, step: dis.Instruction) -> None:
        self._read(self._pop())
        self._stack.append(self._local(_names(step)[-1]))

    def load_constant(self, step: dis.Instruction) -> None:
        self._constants.append(step.argval)
        self._stack.append(None)

    def store(self, path: Path, value: _Item) -> None:
        if isinstance(value, _Grown) and value.path == path:
            self._found.grown.add(path)
        else:
            self._read(value)
            self._found.stored.add(path)
            self._fresh.add(path)

    def store_global(self, step: dis.Instruction) -> None:
        self._found.names[str(step.argval)] = None
        self.store((f"global {step.argval}",), self._pop() if step.opname.startswith("STORE") else None)

    def store_variable(self, step: dis.Instruction) -> None:
        value = self._pop() if step.opname.startswith("STORE") else None
        if step.argval in self._free:
            self.store((f"closed-over {step.argval}",), value)
        else:
            self._read(value)

    def store_attribute(self, step: dis.Instruction) -> None:
        owner = self._pop()
        value = self._pop() if step.opname.startswith("STORE") else None
        if isinstance(owner, tuple) and not isinstance(owner, _Grown):
            self.store((*owner, str(step.argval)), value)
        else:
            self._read(value)

    def store_item(self, step: dis.Instruction) -> None:
        self._consume(2 if step.opname == "STORE_SLICE" else 1)
        owner = self._pop()
        value = self._pop() if step.opname.startswith("STORE") else None
        if not isinstance(owner, tuple) or isinstance(owner, _Grown):
            self._read(value)
        elif isinstance(value, _Grown) and value.path == (*owner, ITEM):
            self._found.grown.add(owner)
        else:
            self._read(value)
            self._mutate(owner)

    def load_item(self, step: dis.Instruction) -> None:
        self._consume()
        owner = self._pop()
        self._stack.append((*owner, ITEM) if isinstance(owner, tuple) and not isinstance(owner, _Grown) else owner)

    def operate(self, step: dis.Instruction) -> None:
        self._consume()
        left = self._pop()
        self._stack.append(_Grown(left) if isinstance(left, tuple) and not isinstance(left, _Grown) else left)

    def copy(self, step: dis.Instruction) -> None:
        at = step.arg or 1
        self._stack.append(self._stack[-at] if at <= len(self._stack) else None)

    def swap(self, step: dis.Instruction) -> None:
        at = step.arg or 1
        if at <= len(self._stack):
            self._stack[-1], self._stack[-at] = self._stack[-at], self._stack[-1]

    def call(self, step: dis.Instruction) -> None:
        given = step.arg or 0
        if step.opname == "CALL_KW":
            self._consume()
        if step.opname == "CALL_FUNCTION_EX":
            given = 1 + given % 2
        arguments = [self._pop() for _ in range(given)]
        called = [self._pop(), self._pop()]
        function = next((item for item in called if isinstance(item, tuple) and not isinstance(item, _Grown)), None)
        counted = function == ("global len",)
        for item in arguments:
            # To count what was added just now is not to read what was there before.
            if not (counted and item in self._added):
                self._read(item)
        self._stack.append(None if function is None else self._result_of(function))

    def _result_of(self, function: Path) -> _Item:
        owner, name = function[:-1], function[-1]
        if name == "get" and owner:
            return (*owner, ITEM)
        if name in _MUTATORS and owner and self._following == "POP_TOP":
            self._mutate(owner)
        else:
            self._found.called.add(function)
        return None

    def leave(self, step: dis.Instruction) -> None:
        self._lose_all()

    def import_module(self, step: dis.Instruction) -> None:
        self._consume(2)
        level, names = self._constants[-2:]
        wanted = names if isinstance(names, tuple) else (None,)
        for name in wanted:
            self._found.imports[Import(level if isinstance(level, int) else 0, str(step.argval), name)] = None
        self._stack.append(None)

    def nothing(self, step: dis.Instruction) -> None:
        return

    def _other(self, step: dis.Instruction) -> None:
        effect = dis.stack_effect(step.opcode, step.arg if step.opcode >= dis.HAVE_ARGUMENT else None, jump=False)
        if step.opname.startswith(("LOAD_", "PUSH_")) and effect > 0:
            self._stack += [None] * effect
            return
        # What an instruction takes beyond its effect is replaced by its result.
        self._consume(max(0, -effect) + 1)
        self._stack += [None] * (max(0, effect) + 1)


def _names(step: dis.Instruction) -> tuple[str, ...]:
    return step.argval if isinstance(step.argval, tuple) else (str(step.argval),)


def _rebound(step: dis.Instruction) -> tuple[str, ...]:
    if not step.opname.startswith(("STORE_FAST", "DELETE_FAST", "STORE_DEREF", "DELETE_DEREF")):
        return ()
    return _names(step)[:1] if step.opname == "STORE_FAST_LOAD_FAST" else _names(step)


_HANDLERS = {
    **dict.fromkeys(("LOAD_GLOBAL", "LOAD_NAME"), _Run.load_global),
    "LOAD_FROM_DICT_OR_GLOBALS": _Run.load_global_over,
    "LOAD_FROM_DICT_OR_DEREF": _Run.load_variable_over,
    "STORE_FAST_LOAD_FAST": _Run.store_and_load,
    **dict.fromkeys(
        ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_FAST_LOAD_FAST"),
        _Run.load_variable,
    ),
    **dict.fromkeys(("LOAD_ATTR", "LOAD_METHOD"), _Run.load_attribute),
    "LOAD_CONST": _Run.load_constant,
    **dict.fromkeys(("STORE_GLOBAL", "DELETE_GLOBAL"), _Run.store_global),
    **dict.fromkeys(("STORE_DEREF", "DELETE_DEREF"), _Run.store_variable),
    **dict.fromkeys(("STORE_ATTR", "DELETE_ATTR"), _Run.store_attribute),
    **dict.fromkeys(("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"), _Run.store_item),
    "BINARY_SUBSCR": _Run.load_item,
    "BINARY_OP": _Run.operate,
    "COPY": _Run.copy,
    "SWAP": _Run.swap,
    **dict.fromkeys(("CALL", "CALL_KW", "CALL_FUNCTION_EX"), _Run.call),
    **dict.fromkeys(
        ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD",
         "JUMP_BACKWARD_NO_INTERRUPT"),
        _Run.leave,
    ),
    "IMPORT_NAME": _Run.import_module,
    **dict.fromkeys(("NOP", "RESUME", "CACHE", "EXTENDED_ARG", "PRECALL", "KW_NAMES", "MAKE_CELL", "COPY_FREE_VARS"),
                    _Run.nothing),
}  # fmt: skip
"""The instructions that handle variables, by name; the rest are taken to use up what they find."""
