"""Code is written as what it computes, on each version of Python: not as its text, yet never as other code."""

from __future__ import annotations

from itertools import combinations

import pytest
from support.programs import defined

from recallm.keying.code import code_form


def form(source: str) -> tuple[bytes, list[str]]:
    """Return the form of the code of ``f``, and the names of its closed-over variables."""
    return code_form(defined(source).__code__)


SOURCES = [
    "def f(a, b): return a - b",
    "def f(b, a): return b - a",
    "def f(a, b): return b - a",
    "def f(a, b): return a + b",
    "def f(a, b): return a - b - 1",
    "def f(a, b): return a - b - 1.0",
    "def f(a, b): return a - b - True",
    "def f(a, b): return a - b - 0.0",
    "def f(a, b): return a - b - -0.0",
    "def f(a, b): return a.x - b",
    "def f(a, b): return a.y - b",
    "def f(a, b): return (lambda: a - b)()",
    "def f(a, b): return (lambda: b - a)()",
    "def f(a, b): return (lambda c=a: c - b)()",
    "def f(a, b):\n c = 1\n d = 2\n return (lambda: c - d)()",
    "def f(a, b):\n c = 1\n d = 2\n return (lambda: d - c)()",
    "def f(a, b):\n try:\n  g(a)\n  h(b)\n except E:\n  k()",
    "def f(a, b):\n try:\n  g(a)\n except E:\n  k()\n else:\n  h(b)",
    "def f(a, b):\n while a:\n  if b: break\n  a -= 1\n return a",
    "def f(a, b):\n while a:\n  if b: continue\n  a -= 1\n return a",
    "async def f(a, b): return a - b",
    "def f(a, b): yield a - b",
    "async def f(a, b): yield a - b",
    "def f(a, b, *c): return a - b",
    "def f(a, b, **c): return a - b",
    "def f(a, *, b): return a - b",
    "def f(a, b, /): return a - b",
    "def f(a, b): return g(a, b)",
    "def f(a, b): return g(*a, **b)",
    "def f(a, b): return g(x=a, y=b)",
    "def f(a, b): return g(y=a, x=b)",
    "def f(a, b): return g(a, y=b)",
    "def f(a, b): return g(a, z=b)",
    "def f(a, b): return a.g(b)",
    "def f(a, b): return a[b]",
    "def f(a, b): return a[b:]",
    "def f(a, b): return [c for c in a if b]",
    "def f(a, b): return (c for c in a if b)",
    "def f(a, b): return {c for c in a if b}",
    "def f(a, b): return a < b",
    "def f(a, b): return a <= b",
    "def f(a, b): return a is b",
    "def f(a, b): return a is not b",
    "def f(a, b): return a in b",
    "def f(a, b): return a and b",
    "def f(a, b): return a or b",
    "def f(a, b): return f'{a}{b}'",
    "def f(a, b): return f'{a!r}{b}'",
    "def f(a, b): return f'{a:>3}{b}'",
    "def f(a, b): return 'text'",
    "def f(a, b): return b'text'",
    "def f(a, b): return a in {1, 2}",
    "def f(a, b): return a in (1, 2)",
    "def f(a, b):\n class C:\n  x = 1\n return C",
    "def f(a, b):\n class C:\n  x = 2\n return C",
    "def f(a, b):\n match a:\n  case [c, *d]: return c",
    "def f(a, b):\n match a:\n  case {'c': c}: return c",
    "def f(a, b):\n import json\n return json",
    "def f(a, b):\n import json.decoder\n return json",
    "def f(a, b):\n from . import json\n return json",
]
"""No two of these compute the same."""


def test_code_that_computes_something_else_has_another_form() -> None:
    """Operators, constants, names, keywords, signatures, jumps, exception ranges and inner code tell code apart."""
    forms = {source: form(source) for source in SOURCES}
    for one, other in combinations(SOURCES, 2):
        assert forms[one] != forms[other], (one, other)


@pytest.mark.parametrize("source", SOURCES)
def test_code_compiled_again_has_the_same_form(source: str) -> None:
    """Compiling a source again, as every process does, changes nothing, nor does where it stands in its file."""
    assert form(source) == form(source) == form("# a comment\n\nx = 1\n" + source)


LOOP = "def f(q):\n total = 0\n for each in q:\n  total += each\n return total"
SAME = {
    "docstring": ("def f(q):\n 'One.'\n return q", "def f(q):\n 'Two.'\n return q"),
    "no docstring": ("def f(q):\n 'One.'\n return q", "def f(q):\n return q"),
    "docstring before constants": ("def f(q):\n 'One.'\n return q + 7", "def f(q):\n return q + 7"),
    "docstring of an inner function": (
        "def f(q):\n def g():\n  'One.'\n  return q\n return g()", "def f(q):\n def g():\n  return q\n return g()"
    ),
    "docstring of an inner class": (
        "def f(q):\n class A:\n  'One.'\n  x = q\n return A.x", "def f(q):\n class A:\n  x = q\n return A.x"
    ),
    "annotations": ("def f(q: int) -> str:\n return q", "def f(q):\n return q"),
    "annotation of a local": ("def f(q):\n x: int = q\n return x", "def f(q):\n x = q\n return x"),
    "name of a local": (LOOP, LOOP.replace("total", "result")),
    "name of a loop variable": (LOOP, LOOP.replace("each", "item")),
    "swapped names of locals": (
        "def f(q):\n a = q\n b = 2\n return a - b", "def f(q):\n b = q\n a = 2\n return b - a"
    ),
    "name in a comprehension": ("def f(q):\n return [a for a in q]", "def f(q):\n return [b for b in q]"),
    "name of an argument of a lambda's variable": (
        "def f(q):\n a = 1\n b = 2\n return (lambda: a - b)()", "def f(q):\n d = 1\n c = 2\n return (lambda: d - c)()"
    ),
    "name of an exception": (
        "def f(q):\n try: return q\n except E as a: return a.x", "def f(q):\n try: return q\n except E as b: return b.x"
    ),
    "name in with": ("def f(q):\n with q as a: return a", "def f(q):\n with q as b: return b"),
    "names in match": (
        "def f(q):\n match q:\n  case [a, *b]: return a", "def f(q):\n match q:\n  case [c, *d]: return c"
    ),
    "comment": ("def f(q):\n return q", "def f(q):\n # why\n return q  # because"),
    "formatting": ("def f(q): return g(q, 1)", "def f(\n  q,\n):\n\n return g(\n  q,\n  1,\n )"),
    "parentheses": ("def f(q): return q + 1 - 2", "def f(q): return ((q + 1) - 2)"),
    "folded constants": ("def f(q): return q + 60 * 60", "def f(q): return q + 3600"),
    "order in a set": ("def f(q): return q in {1, 2, 'a'}", "def f(q): return q in {'a', 2, 1}"),
    "place of a lambda": ("f = lambda q: q", "\n\n\nf = (\n lambda q: q)"),
}  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_how_code_is_written_does_not_count(one: str, other: str) -> None:
    """Docstrings, annotations, names of locals, comments and formatting leave the form as it is."""
    assert form(one) == form(other)


LOOKING = ["locals()", "vars()", "dir()", "eval('1')", "exec('1')"]


@pytest.mark.parametrize("look", LOOKING)
def test_names_count_for_code_that_looks_at_them(look: str) -> None:
    """If code looks at its own variables, the names of its locals decide the answer and count."""
    one, other = (f"def f(q):\n {name} = q\n return {look}" for name in ("a", "b"))
    assert form(one) != form(other)


def test_names_of_arguments_count() -> None:
    """The name of an argument counts: it may be given by it."""
    assert form("def f(q): return q") != form("def f(question): return question")


def test_closed_over_variables_are_told_by_their_first_use() -> None:
    """The names of closed-over variables do not count; they are returned in the order of their first use."""
    make = "def make(a, b):\n def f(q): return {} - {} + {}\n return f\nf = make(1, 2)"
    one, names = form(make.format("b", "a", "b"))
    other, other_names = form(make.format("a", "b", "a"))
    assert one == other
    assert (names, other_names) == (["b", "a"], ["a", "b"])


def test_an_inner_function_is_tied_to_the_variables_around_it() -> None:
    """Which variable of the outer function an inner one closes over counts, through several functions too."""
    deep = "def f(q):\n a = 1\n b = 2\n def g():\n  return (lambda: {})()\n return a, b, g()"
    assert form(deep.format("a")) != form(deep.format("b"))
