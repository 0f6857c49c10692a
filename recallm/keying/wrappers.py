"""Wrappers that hand on what the function under them returns, told from their bytecode."""

from __future__ import annotations

import dis
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dis import Instruction
from functools import _lru_cache_wrapper
from types import CodeType, FunctionType
from typing import Any

_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
_SILENT = ("EXTENDED_ARG", "NOP")
_CALLS = ("CALL", "CALL_FUNCTION_EX", "CALL_KW")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_CALLABLE_SLOTS = 2
"""How many places of the stack a call's callable takes: itself, and the object that it is bound to or nothing."""


def is_wrapt_wrapper(cls: type) -> bool:
    """Return whether the instances of a class are wrapt's wrappers of functions, whatever they pass for."""
    wrapt = sys.modules.get("wrapt")
    kinds = (getattr(wrapt, "FunctionWrapper", None), getattr(wrapt, "BoundFunctionWrapper", None))
    return any(kind is not None and issubclass(cls, kind) for kind in kinds)


def hands_on_result(wrapper: Any) -> bool:
    """Return whether a call of `wrapper` gives what the call of its ``__wrapped__`` gives, unchanged.

    It does if every ``return`` in its code, and there is one, is a call of the wrapped function, or a local variable
    that nothing but such calls is assigned to. The wrapped function may be in a closed-over or global variable, in an
    attribute of a callable object, or the first argument of a wrapt wrapper. Code that says it otherwise, for
    example from within a ``with``, is not understood, and False.

    Args:
        wrapper: a callable that has a ``__wrapped__``.
    """
    if isinstance(wrapper, _lru_cache_wrapper):
        return True
    function, first = _code_and_first_argument(wrapper)
    if not isinstance(function, FunctionType):
        return False
    code = function.__code__
    arguments = dict(zip(code.co_varnames[: code.co_argcount], [first], strict=False))
    variables = ChainMap(arguments, dict(_closed_over(function)), function.__globals__)
    reader = _Reader(code, variables, wrapper.__wrapped__)
    returns = [at for at, each in enumerate(reader.steps) if each.opname.startswith("RETURN_")]
    return bool(returns) and all(reader.returns_result(at) for at in returns)


def _code_and_first_argument(wrapper: Any) -> tuple[Any, object]:
    """Return the Python function that runs if a wrapper is called, and its first argument if it is always the same."""
    of_wrapt = getattr(wrapper, "_self_wrapper", None)
    if isinstance(of_wrapt, FunctionType):
        return of_wrapt, wrapper.__wrapped__
    function = getattr(wrapper, "__func__", wrapper)
    return (function, None) if isinstance(function, FunctionType) else (type(wrapper).__call__, wrapper)


def _closed_over(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


class _Reader:
    """Reads which values in a function's code are results of the wrapped function.

    Args:
        code: the code.
        variables: what is known of the values of its variables.
        wrapped: the wrapped function.
    """

    def __init__(self, code: CodeType, variables: Mapping[str, object], wrapped: object) -> None:
        self.steps: Sequence[Instruction] = [each for each in dis.get_instructions(code) if each.opname not in _SILENT]
        self._variables = variables
        self._wrapped = wrapped
        self._assigned: dict[object, list[int]] = {}
        for at, each in enumerate(self.steps):
            if each.opname.startswith("STORE_"):
                for name in each.argval if isinstance(each.argval, tuple) else (each.argval,):
                    self._assigned.setdefault(name, []).append(at)

    def returns_result(self, at: int) -> bool:
        """Return whether the instruction returns a result of the wrapped function."""
        value = self.steps[at - 1]
        if self.steps[at].opname != "RETURN_VALUE" or self.steps[at].is_jump_target:
            return False
        if not value.opname.startswith("LOAD_FAST"):
            return self._is_result(at - 1)
        stores = self._assigned.get(value.argval, ())
        return bool(stores) and all(
            self.steps[store].opname == "STORE_FAST"
            and not self.steps[store].is_jump_target
            and self._is_result(store - 1)
            for store in stores
        )

    def _is_result(self, at: int) -> bool:
        """Return whether the instruction is a call of the wrapped function, with arguments free of branches."""
        if self.steps[at].opname not in _CALLS:
            return False
        begin, missing = at, 1 - _effect(self.steps[at])
        if self.steps[at - 1].opname == "PRECALL":  # Python 3.11 takes the arguments off here
            begin, missing = at - 1, missing - _effect(self.steps[at - 1])
        arguments, missing = self._back(begin, missing, _CALLABLE_SLOTS)
        begin, missing = self._back(arguments, missing, 0)
        inside = self.steps[begin : at + 1]
        branches = any(each.opcode in _JUMPS for each in inside) or any(each.is_jump_target for each in inside[1:])
        return missing == 0 and not branches and self._loaded(self.steps[begin:arguments]) is self._wrapped

    def _back(self, begin: int, missing: int, enough: int) -> tuple[int, int]:
        """Return where the instructions before `begin` start that push values until no more than `enough` miss."""
        while missing > enough and begin > 0:
            begin -= 1
            missing -= _effect(self.steps[begin])
        return begin, missing

    def _loaded(self, steps: Sequence[Instruction]) -> object:
        """Return what a variable or its attribute holds, or None if these instructions load something else."""
        match [each for each in steps if each.opname != "PUSH_NULL"]:
            case [load] if load.opname.startswith(("LOAD_DEREF", "LOAD_GLOBAL", "LOAD_FAST")):
                return self._value(load.argval)
            case [load, attribute] if load.opname.startswith("LOAD_FAST") and attribute.opname in _ATTRIBUTES:
                holder = None if attribute.argval in self._assigned else self._value(load.argval)
                return getattr(holder, "__dict__", {}).get(attribute.argval)
        return None

    def _value(self, name: object) -> object:
        return None if name in self._assigned else self._variables.get(str(name))


def _effect(step: Instruction) -> int:
    return dis.stack_effect(step.opcode, step.arg)
