"""What code does with its variables is read from its instructions, on each version of Python."""

from __future__ import annotations

import argparse
import asyncio.base_events
import inspect
import pathlib
import typing
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import pytest
from support.programs import run

from recallm.keying.usage import ITEM, Import, Path, Usage, usage

V: Path = ("global V",)
HELD: list[object] = [0, 0.5, [], {}]
"""What a variable may hold in which code keeps a record."""


def used(body: str, arguments: str = "q") -> Usage:
    """Return what the body of a function does."""
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    fn: FunctionType = run(f"def f({arguments}):\n{lines}")["f"]
    return usage(fn.__code__)


READ = [
    "return V",
    "return V + q",
    "return q + V",
    "return -V",
    "return not V",
    "return V[0]",
    "return V[q:]",
    "return q in V",
    "return V < q",
    "return 0 < V < 3",
    "return f'{V}'",
    "return [*V]",
    "return {**V}",
    "return (V,)",
    "return [x for x in V]",
    "return [V for x in q]",
    "return (lambda: V)()",
    "return g(V)",
    "return g(*V)",
    "return g(**V)",
    "return g(a=V)",
    "return V if q else 1",
    "return q and V",
    "return V()",
    "return V.x",
    "return V.x.y()",
    "return V.get(q)",
    "return str(V)",
    "yield V",
    "raise V",
    "assert V",
    "with V: pass",
    "for x in V: pass",
    "if V: return 1",
    "while V: q()",
    "match V:\n    case 1: return 1",
    "v = V\nv.append(q)\nreturn v",
    "(a, b) = V",
    "q.x = V",
    "q[0] = V",
    "q[V] = 0",
    "del q[V]",
    "if (v := V): return v",
    "try: return q\nexcept V: return 0",
    "class C: x = V",
    "def g(x=V): pass",
    "@V\ndef g(): pass",
    "return V.pop()",
    "return V.setdefault(q, 1)",
    "V.setdefault(q, []).append(1)",
    "V.setdefault(q, {})[q] = 1",
    "return g(q, callback=V.append)",
    "if len(V) > 3: V.clear()",
    "V[q] = len(V)",
    "x = V.popleft()",
    "take = V.pop\nreturn take()",
    "V.append(q)\nreturn V",
    "V.append(q)\nreturn V[-1]",
    "V[q] = 1\nreturn V",
    "if q not in V: V[q] = 1",
    "V.add(q) or g()",
    "global V\nif q: V = 1\nreturn V",
    "global V\nx = V\nV = 1\nreturn x",
    "global V\nV = V.pop()",
    "global V\nV = g(V)",
    "global V\nV = V or q",
]


@pytest.mark.parametrize("body", READ)
def test_what_decides_an_answer_is_read(body: str) -> None:
    """However code gets hold of what a variable holds, the variable counts: it is no mere record."""
    found = used(body)
    assert found.is_read(V)
    assert not any(found.keeps_a_record(V, value) for value in HELD)
    assert "V" in found.names


RECORDED = [
    "global V\nV += 1",
    "global V\nV = V + 1",
    "global V\nV = q",
    "global V\nV = q\nreturn V",
    "global V\ndel V",
    "global V\nV += 1\nreturn q * V",
    "V.append(q)",
    "V.append(q)\nreturn q",
    "V.add(q)",
    "V.update(a=q)",
    "V.extend([q])",
    "V.insert(0, q)",
    "V.clear()",
    "V.pop(q, None)",
    "V.append(q)\nif len(V) > 3: V.clear()",
    "V[q] = 1",
    "V[q] += 1",
    "V[q] = V.get(q, 0) + 1",
    "V[:] = [q]",
    "V[q][0] = 1",
    "V[q].append(1)",
    "del V[q]",
    "V.count += 1",
    "V.last = q",
    "V.calls.append(q)",
    "V.seen[q] = 1",
    "def g():\n    V.append(q)\ng()",
    "for x in q: V.append(x)",
    "try: return q\nfinally: V.append(q)",
]


@pytest.mark.parametrize("body", RECORDED)
def test_what_is_only_set_or_changed_is_not_read(body: str) -> None:
    """What code sets before it reads it, counts in or adds to without a look counts for nothing it reads."""
    found = used(body)
    paths = [V, *((*V, name) for name in found.attributes(V))]
    assert any(found.keeps_a_record(path, value) for path in paths for value in HELD)
    assert not {path for path in found.reads if path[0] == V[0]} - set(found.grown)


@pytest.mark.parametrize(("held", "records"), [(0, True), (0.5, True), (True, False), ("a", False), ([], False)])
def test_a_counter_that_is_read_is_a_record_while_it_is_a_number(held: object, records: bool) -> None:
    """A number that code adds to and reads is a counter; a text or list that grows and is read decides an answer."""
    assert used("global V\nV += q\nreturn V").keeps_a_record(V, held) is records
    assert used("global V\nV += q").keeps_a_record(V, held)


@pytest.mark.parametrize(("held", "records"), [(set(), True), ([], True), (SimpleNamespace(), False), (None, False)])
def test_only_containers_are_changed_in_place(held: object, records: bool) -> None:
    """A method named like one of a container's changes nothing for sure unless it is called on a container."""
    assert used("V.add(q)").keeps_a_record(V, held) is records


def test_variables_are_told_apart_by_their_kind() -> None:
    """Globals, closed-over variables and arguments of one name are different variables."""
    source = "def make(V):\n def f(q):\n  nonlocal V\n  V += 1\n  q.n += 1\n  return W\n return f\nf = make(0)"
    fn: FunctionType = run(source)["f"]
    found = usage(fn.__code__)
    assert found.grown == {("closed-over V",), ("argument q", "n")}
    assert found.reads == {("global W",)}
    assert list(found.names) == ["W"]


def test_an_argument_that_is_set_anew_is_followed_no_more() -> None:
    """An argument that code assigns to may hold anything afterwards."""
    assert used("q.n = 1").stored == {("argument q", "n")}
    assert not used("q = g()\nq.n = 1").stored


def test_a_local_variable_hides_no_global() -> None:
    """A local variable is no global of its name."""
    assert used("V = q\nreturn V").names == {}


def test_what_is_called_is_told_from_what_is_handed_on() -> None:
    """A function that is called is not read as a value, one that is handed on is."""
    found = used("return V(q), W.x(q), call(X, tools=[Y])")
    assert {("global V",), ("global W", "x"), ("global call",)} == found.called
    assert {("global X",), ("global Y",), ("argument q",)} == found.reads


def test_attributes_are_followed() -> None:
    """Attributes of variables are known by their paths, those of results by their names alone."""
    found = used("return V.a.b, V.a[0].c, g().d")
    assert found.reads == {(*V, "a", "b"), (*V, "a", ITEM, "c")}
    assert found.attributes(V) == {"a"}
    assert found.attributes((*V, "a")) == {"b"}
    assert found.loose == {"d"}
    assert set(found.attributes_read()) == {"a", "b", "c", "d", ITEM}


@pytest.mark.parametrize(
    ("body", "imported"),
    [
        ("import a", [Import(0, "a", None)]),
        ("import a.b", [Import(0, "a.b", None)]),
        ("import a.b as c", [Import(0, "a.b", None)]),
        ("from a import b, c as d", [Import(0, "a", "b"), Import(0, "a", "c")]),
        ("from . import b", [Import(1, "", "b")]),
        ("from ..a import b", [Import(2, "a", "b")]),
        ("x = 1\ny = 'z'\nimport a\nimport b", [Import(0, "a", None), Import(0, "b", None)]),
        ("def g():\n    import a", [Import(0, "a", None)]),
    ],
)
def test_imports_are_listed(body: str, imported: list[Import]) -> None:
    """What code imports when it runs is known by level, module and name."""
    assert list(used(body).imports) == imported


def _codes(code: CodeType) -> list[CodeType]:
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return [code, *(deeper for each in inner for deeper in _codes(each))]


def test_the_code_of_a_library_is_read_without_fail() -> None:
    """The run ends well for every function of a large module, whatever its instructions."""
    modules: list[Any] = [argparse, asyncio.base_events, inspect, typing]
    codes = [code for module in modules for code in _codes(_compiled(module.__file__))]
    named = [set(usage(code).names) for code in codes]
    assert len(named) > 500
    assert any("isinstance" in names for names in named)


def _compiled(file: str) -> CodeType:
    code: CodeType = compile(pathlib.Path(file).read_text(encoding="utf-8"), file, "exec")
    return code
