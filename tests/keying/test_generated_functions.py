"""Functions from a small grammar: whenever two of them answer differently, they differ in identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.programs import Function, digest, run, run_python

SHAPE = """
class Settings:
    rate = {rate}
    def __init__(self, step):
        self.step = step
    def apply(self, value):
        return value {operator} self.step
settings = Settings({step})
TABLE = {table}
LOG = []
calls = 0
{unused} = 5
def helper(value, by={by}):
    '''{doc}'''
    return {helper}
def make(bound):
    def f(x, d={default}, *, k={keyword}):
        '''{doc}'''
        global calls
        calls += 1
        LOG.append(x)
        local = {first}
        {statement}
        named = dict({named}=x, c=d).get('a', 0)
        return ({result}) + named
    return f
f = make({bound})
"""

NUMBERS = st.integers(-2, 3)
OPERATORS = st.sampled_from(["+", "-", "*", "//", "%", "|", "<<"])
NAMES = st.sampled_from(
    ["x", "d", "k", "bound", "A", "B", "settings.step", "settings.rate", "Settings.rate", "TABLE[0]", "len(TABLE)"]
)
HELPER_NAMES = st.sampled_from(["value", "by", "A", "TABLE[-1]", "Settings.rate"])


def expressions(names: st.SearchStrategy[str], *, calls: bool) -> st.SearchStrategy[str]:
    """Return expressions over some names."""

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        forms = [
            st.builds("({} {} {})".format, inner, OPERATORS, inner),
            st.builds("({} if {} > {} else {})".format, inner, inner, inner, inner),
            st.builds("(lambda v: v - {})({})".format, inner, inner),
            st.builds("sum([v * {} for v in TABLE])".format, inner),
        ]
        if calls:
            forms += [
                st.builds("helper({})".format, inner),
                st.builds("helper({}, by={})".format, inner, inner),
                st.builds("settings.apply({})".format, inner),
                st.builds("dict(a={}, b={})['a']".format, inner, inner),
                st.builds("dict(b={}, a={})['a']".format, inner, inner),
            ]
        return st.one_of(forms)

    return st.recursive(names | NUMBERS.map(str), larger, max_leaves=4)


VALUES = expressions(NAMES, calls=True)
STATEMENTS = st.one_of(
    st.just("pass"),
    st.builds("local += {}".format, VALUES),
    st.builds("for each in TABLE: local -= {}".format, VALUES),
    st.builds("if local > {}: return {}".format, VALUES, VALUES),
    st.builds("try: local //= {}\n        except ZeroDivisionError: local = {}".format, VALUES, VALUES),
)


class Program(NamedTuple):
    """A module's source, and the values that its globals have before."""

    source: str
    values: dict[str, int]

    def function(self) -> Function:
        """Return its function, made anew."""
        fn: Function = run(self.source, self.values)["f"]
        return fn


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Return a program, mostly one that differs in little from others."""
    chosen = {
        name: draw(strategy)
        for name, strategy in {
            "rate": st.sampled_from([1, 2]), "step": st.sampled_from([1, 2]), "operator": st.sampled_from("+-"),
            "table": st.sampled_from(["[1, 2]", "(1, 2)", "[2, 1]"]), "unused": st.sampled_from(["U", "V"]),
            "named": st.sampled_from(["a", "b"]),
            "by": st.sampled_from([1, 2]), "doc": st.sampled_from(["One.", "Two."]),
            "helper": expressions(HELPER_NAMES, calls=False), "default": st.sampled_from([1, 2]),
            "keyword": st.sampled_from([1, 2]), "first": VALUES, "statement": STATEMENTS,
            "result": st.sampled_from(["local", "x", "local - d", "helper(local)"]) | VALUES, "bound": NUMBERS,
        }.items()
    }  # fmt: skip
    source = SHAPE.format(**chosen)
    if draw(st.booleans()):
        source = source.replace("local", "elsewhere")
    return Program(source, {"A": draw(NUMBERS), "B": draw(NUMBERS)})


@st.composite
def families(draw: st.DrawFn) -> list[Program]:
    """Return programs that differ from one another in few places: a piece or a value of one is that of another."""
    first, second = draw(programs()), draw(programs())
    ones, others = first.source.split("\n"), second.source.split("\n")
    family = [first, second, Program(first.source, second.values)]
    if len(ones) == len(others):
        for at, (line, other) in enumerate(zip(ones, others, strict=True)):
            if line != other:
                family.append(Program("\n".join([*ones[:at], other, *ones[at + 1 :]]), first.values))
    return family


def answers(fn: Function) -> list[Any]:
    """Return what a function returns, or raises, for some inputs."""
    found: list[Any] = []
    for given_arguments in ((0,), (1,), (-3,), (7,), (2, 5)):
        try:
            found.append(fn(*given_arguments))
        except Exception as error:  # noqa: BLE001  # of whatever type: it is the answer
            found.append(type(error).__name__)
    return found


@examples(0.6)
@given(families())
def test_functions_that_answer_differently_differ(family: list[Program]) -> None:
    """Two functions that give different results on some input never share a digest."""
    known: dict[bytes, tuple[Program, list[Any]]] = {}
    for program in family:
        fn = program.function()
        key, given_answers = digest(fn), answers(program.function())
        other, expected = known.setdefault(key, (program, given_answers))
        assert given_answers == expected, f"{program.source}\n{program.values}\n{other.source}\n{other.values}"


@given(programs())
def test_calls_do_not_make_another_function(program: Program) -> None:
    """What a function counts and logs while it runs leaves its digest as it was."""
    fn = program.function()
    before = digest(fn)
    answers(fn)
    assert digest(fn) == before


ELSEWHERE = """
import json, sys
from support.programs import digest, run
for source, values in json.load(open(sys.argv[1])):
    print(digest(run(source, values)["f"]).hex())
"""


@pytest.mark.untraced
def test_the_same_program_is_the_same_function_in_another_process(tmp_path: Path) -> None:
    """Another process, with other hashes and addresses, gives each function the digest that it has here."""
    seen: list[Program] = []

    @examples(1, database=None)
    @given(programs())
    def collect(program: Program) -> None:
        seen.append(program)

    collect()
    (tmp_path / "programs.json").write_text(json.dumps(seen))
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    printed = run_python("elsewhere.py", "programs.json", folder=tmp_path, PYTHONHASHSEED="7").split()
    assert printed == [digest(program.function()).hex() for program in seen]
    assert len(set(printed)) > len(seen) / 2
