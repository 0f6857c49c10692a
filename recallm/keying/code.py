"""What code computes, as bytes: not how it is written.

Docstrings, comments, line numbers and the names of local variables do not count.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType

from recallm.keying.attached import Attached
from recallm.keying.canonical import canonical
from recallm.keying.reader import encoded, length_prefixed

_KIND = CO_VARARGS | CO_VARKEYWORDS | CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR

_LOOKS_AT_NAMES = frozenset({"locals", "vars", "eval", "exec", "dir", "_getframe", "currentframe"})
"""Code that names one of these may answer by the names of its local variables."""

_WITHOUT_EFFECT = frozenset(
    {"NOP", "CACHE", "EXTENDED_ARG", "RESUME", "PRECALL", "MAKE_CELL", "COPY_FREE_VARS", "LOAD_CLOSURE"}
)

_WRITTEN_DOWN = frozenset({"__doc__", "__firstlineno__"})
"""What the body of a class stores of its text."""


_KNOWN: Attached[tuple[bytes, list[str]]] = Attached()


def code_form(code: CodeType) -> tuple[bytes, list[str]]:
    """Return bytes that tell code from any that computes something else.

    Returns:
        The bytes, and the names of the closed-over variables in the order of their first use, in which they are
        numbered in the bytes.
    """
    known = _KNOWN.get(code)
    if known is not None:
        return known
    written = _Code(code, None)
    form = written.form()
    return _KNOWN.keep(code, (form, [name for name in written.labels if name in code.co_freevars]))


class _Code:
    """Writes one code object, with variables numbered in the order of their first use.

    Args:
        code: the code.
        around: the code in which its function is defined; None: it is not known.
    """

    def __init__(self, code: CodeType, around: _Code | None) -> None:
        self._code = code
        self._around = around
        # Arguments are told apart by their place.
        given = code.co_argcount + code.co_kwonlyargcount
        given += bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
        self.labels = {name: at for at, name in enumerate(code.co_varnames[:given])}

    def form(self) -> bytes:
        code = self._code
        names = tuple(self.labels) if self._around is None else ()
        if _LOOKS_AT_NAMES.intersection(code.co_names):
            names = code.co_varnames
        counts = code.co_flags & _KIND, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
        name = code.co_name if self._around is not None else ""
        parts = [repr((name, counts, names)).encode("utf-8", "backslashreplace"), code.co_exceptiontable]
        return length_prefixed(b"code", [*parts, *self._steps()])

    def _label(self, name: str) -> bytes:
        if self._around is not None and name in self._code.co_freevars:
            return b"^" + self._around._label(name)
        return b"%d" % self.labels.setdefault(name, len(self.labels))

    def _steps(self) -> Iterator[bytes]:
        steps = [step for step in dis.get_instructions(self._code) if step.opname not in _WITHOUT_EFFECT]
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            stored = following if step.opname == "LOAD_CONST" else step
            if stored is not None and stored.opname == "STORE_NAME" and stored.argval in _WRITTEN_DOWN:
                continue
            if step.opcode in dis.haslocal and self._makes_closure(step.argval):
                continue
            yield encoded(step.opname) + b" " + self._argument(step)

    def _makes_closure(self, name: object) -> bool:
        """Return whether a variable is loaded as the cell that an inner function keeps, in which it has a name too."""
        return name in self._code.co_cellvars or name in self._code.co_freevars

    def _argument(self, step: dis.Instruction) -> bytes:
        code, value = step.opcode, step.argval
        if isinstance(value, CodeType):
            return _Code(value, self).form()
        if code in dis.hasconst:
            # Not `argval`: on Python 3.11 it is unknown for the names of keyword arguments.
            return canonical(self._code.co_consts[step.arg or 0])
        if code in dis.haslocal or code in dis.hasfree:
            several = value if isinstance(value, tuple) else (value,)
            return b" ".join(self._label(name) for name in several)
        if code in dis.hasname or code in dis.hasjrel or code in dis.hasjabs:
            return encoded(str(value))
        return b"" if step.arg is None else b"%d" % step.arg
