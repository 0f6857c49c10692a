"""What a function is: its code, and all that the code reads in its program, whichever way it gets hold of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from support.programs import Function, defined, digest, identity, install, read

from recallm.keying.bookkeeping import Leave
from recallm.keying.definitions import MAX_DEFINITIONS, Definitions
from recallm.keying.ignoring import ignore_tree, without
from recallm.keying.scope import Scope
from recallm.keying.stand_ins import IGNORED, Replaced
from recallm.keying.watch import Watch

TOOL = "def tool(q{}):\n '''{}'''\n return q\n"
HELPED = {
    "code of a helper": ("def h(q): return q\ndef f(q): return h(q)", "q\ndef f", "q + 1\ndef f"),
    "default of a helper": ("def h(q, n=1): return q\ndef f(q): return h(q)", "n=1", "n=2"),
    "global of a helper": ("N = 1\ndef h(): return N\ndef f(q): return h()", "N = 1", "N = 2"),
    "helper of a helper": ("def g(): return 1\ndef h(): return g()\ndef f(q): return h()", "1", "2"),
    "helper in a dict": ("def h(): return 1\nD = {'a': h}\ndef f(q): return D[q]()", "1", "2"),
    "helper under a decorator": (
        "import functools\n@functools.lru_cache\ndef h(): return 1\ndef f(q): return h()", "1", "2"
    ),
    "decorator": (
        "import functools\ndef d(fn):\n @functools.wraps(fn)\n def w(q): return fn(q) + 1\n return w\n"
        "@d\ndef f(q): return q", "+ 1", "+ 2"
    ),
    "global in a lambda": ("N = 1\ndef f(q): return (lambda: N)()", "N = 1", "N = 2"),
    "global in an inner class": ("N = 1\ndef f(q):\n class A: n = N\n return A.n", "N = 1", "N = 2"),
    "constant of a class": ("class A: n = 1\ndef f(q): return A.n", "1", "2"),
    "method of a class": ("class A:\n def m(s): return 1\ndef f(q): return A().m()", "1", "2"),
    "method of an object": ("class A:\n def m(s): return 1\na = A()\ndef f(q): return a.m()", "1", "2"),
    "method of a base class": (
        "class B:\n def m(s): return 1\nclass A(B): pass\na = A()\ndef f(q): return a.m()", "1", "2"
    ),
    "static method": ("class A:\n @staticmethod\n def m(): return 1\ndef f(q): return A.m()", "1", "2"),
    "class method": ("class A:\n @classmethod\n def m(c): return 1\ndef f(q): return A.m()", "1", "2"),
    "property": ("class A:\n @property\n def m(s): return 1\na = A()\ndef f(q): return a.m", "1", "2"),
    "cached property": (
        "import functools\nclass A:\n @functools.cached_property\n def m(s): return 1\na = A()\ndef f(q): return a.m",
        "1", "2",
    ),
    "special method": ("class A:\n def __add__(s, o): return 1\na = A()\ndef f(q): return a + q", "1", "2"),
    "metaclass": ("class M(type):\n def m(c): return 1\nclass A(metaclass=M): pass\ndef f(q): return A.m()", "1", "2"),
    "value of an enum member": ("import enum\nclass E(enum.Enum): A = 1\ndef f(q): return E.A.value", "1", "2"),
    "order of enum members": (
        "import enum\nclass E(enum.Enum):\n A = 1\n B = 2\ndef f(q): return [*E]", "A = 1\n B = 2", "B = 2\n A = 1"
    ),
    "value of an object": ("class A: pass\na = A()\na.n = 1\ndef f(q): return a.n", "1", "2"),
    "instance of a class by its name": ("class A: n = 1\ndef f(q): return getattr(A, 'n')", "1", "2"),
    "class in a pattern": ("class A: n = 1\ndef f(q):\n match q:\n  case A.n: return 0", "1", "2"),
    "builtin shadowed": ("length = max\ndef f(q): return len(q)", "length", "len"),
    "name that is missing": ("M = 1\ndef f(q): return N", "M", "N"),
    "getter of the module operator": (
        "import operator\nk = operator.itemgetter('a')\ndef f(q): return k(q)", "'a'", "'b'"
    ),
    "caller of the module operator": (
        "import operator\nk = operator.methodcaller('m', 1, n=2)\ndef f(q): return k(q)", "n=2", "n=3"
    ),
    "docstring of a tool": (TOOL.format("", "Look.") + "def f(q): return call(q, tool)", "Look.", "Guess."),
    "docstring of a tool in a list": (
        TOOL.format("", "Look.") + "T = [tool]\ndef f(q): return call(T)", "Look.", "Guess."
    ),
    "docstring of a tool by keyword": (
        TOOL.format("", "Look.") + "def f(q): return call(q, tools=[tool])", "Look.", "Guess."
    ),
    "annotations of a tool": (TOOL.format(": int", "Look.") + "def f(q): return call(tool)", "int", "str"),
    "name of a tool": (TOOL.format("", "Look.") + "def f(q): return call((tool, tool))", "tool", "util"),
    "docstring of a method as a tool": (
        "class A:\n def t(s):\n  'Look.'\na = A()\ndef f(q): return call(tools=[a.t])", "Look.", "Guess."
    ),
    "docstring of a method of self as a tool": (
        "class A:\n def t(s):\n  'Look.'\n def ask(s, q): return call(tools=[s.t])\nf = A().ask", "Look.", "Guess."
    ),
    "docstring of a class handed on": ("class A:\n 'One.'\ndef f(q): return call(A)", "One.", "Two."),
    "annotations of a class handed on": ("class A:\n n: int\ndef f(q): return call(A)", "int", "str"),
    "docstring that is read": ("def h():\n 'One.'\ndef f(q): return h.__doc__", "One.", "Two."),
    "docstring of a helper that is looked up": (
        "import inspect\ndef h():\n 'One.'\ndef f(q): return h(), inspect.getdoc(D[q])\nD = {}", "One.", "Two."
    ),
    "annotations of a helper, if any are looked at": (
        "import typing\ndef h(n: int): return n\ndef f(q): return h(q), typing.get_type_hints(q)", "int", "str"
    ),
    "docstring of a helper, if a helper looks at any": (
        "def g(q): return q.__doc__\ndef h():\n 'One.'\ndef f(q): return g(q), h()", "One.", "Two."
    ),
    "docstring of a class that is read": ("class A:\n 'One.'\ndef f(q): return A.__doc__", "One.", "Two."),
}  # fmt: skip


@pytest.mark.parametrize(("source", "old", "new"), HELPED.values(), ids=HELPED)
def test_what_decides_the_answer_counts(source: str, old: str, new: str) -> None:
    """Helpers, classes, enums and decorators count by all that may decide the answer; tools by their texts too."""
    assert old in source
    assert digest(defined(source)) == digest(defined(source))
    assert digest(defined(source)) != digest(defined(source.replace(old, new)))


IDLE = {
    "docstring of a helper": (TOOL.format("", "One.") + "def f(q): return tool(q)", "One.", "Two."),
    "annotations of a helper": (TOOL.format(": int", "One.") + "def f(q): return tool(q)", "int", "str"),
    "docstring of a class": ("class A:\n 'One.'\n n = 1\ndef f(q): return A.n", "One.", "Two."),
    "docstring of a method": ("class A:\n def m(s):\n  'One.'\na = A()\ndef f(q): return a.m()", "One.", "Two."),
    "place of a class": ("class A: n = 1\ndef f(q): return A.n", "class", "\n\n\nclass"),
    "another global": ("M = 1\nN = 1\ndef f(q): return N", "M = 1", "M = 2"),
    "another function": ("def g(): return 1\ndef f(q): return q", "1", "2"),
    "name of a local of a helper": ("def h(q):\n n = q\n return n\ndef f(q): return h(q)", "n", "m"),
}


@pytest.mark.parametrize(("source", "old", "new"), IDLE.values(), ids=IDLE)
def test_what_decides_no_answer_does_not_count(source: str, old: str, new: str) -> None:
    """Docstrings and annotations of what is called, places, and what is not named leave the function the same."""
    changed = (
        source.replace(old, new) if old != "n" else source.replace("n = q", "m = q").replace("return n", "return m")
    )
    assert changed != source
    assert digest(defined(source)) == digest(defined(changed))


PACKAGE = {"shop": "", "shop.prompts": "SYSTEM = 'a'\nOTHER = 1\ndef build(q): return SYSTEM + q\n", "shop.app": ""}
PROMPTS = "shop.prompts"
NAMING = {
    "from module import value": ("from shop.prompts import SYSTEM\ndef f(q): return SYSTEM", True),
    "from module import function": ("from shop.prompts import build\ndef f(q): return build(q)", True),
    "module.value": ("from shop import prompts\ndef f(q): return prompts.SYSTEM", True),
    "module.function": ("from shop import prompts\ndef f(q): return prompts.build(q)", True),
    "package.module.value": ("import shop.prompts\ndef f(q): return shop.prompts.SYSTEM", True),
    "package.module.function": ("import shop.prompts\ndef f(q): return shop.prompts.build(q)", True),
    "getattr": ("from shop import prompts\ndef f(q): return getattr(prompts, 'SYSTEM')", True),
    "module handed on": ("from shop import prompts\ndef f(q): return call(prompts)", True),
    "module in a dict": ("from shop import prompts\nD = {'a': prompts}\ndef f(q): return D[q].SYSTEM", True),
    "module in an object": (
        "from shop import prompts\nclass A: pass\na = A()\na.p = prompts\ndef f(q): return a.p.SYSTEM", True
    ),
    "import inside": ("def f(q):\n import shop.prompts\n return shop.prompts.SYSTEM", True),
    "import as inside": ("def f(q):\n import shop.prompts as p\n return p.build(q)", True),
    "from import inside": ("def f(q):\n from shop.prompts import build\n return build(q)", True),
    "relative import inside": ("def f(q):\n from .prompts import SYSTEM\n return SYSTEM", True),
    "relative import of a module inside": ("def f(q):\n from . import prompts\n return prompts.SYSTEM", True),
    "import inside a helper": ("def h():\n from .prompts import SYSTEM\n return SYSTEM\ndef f(q): return h()", True),
    "another value": ("from shop import prompts\ndef f(q): return prompts.OTHER", False),
    "another value imported inside": ("def f(q):\n from .prompts import OTHER\n return OTHER", False),
    "module that is not named": ("import shop.prompts\ndef f(q): return q", False),
}  # fmt: skip


def asking(monkeypatch: pytest.MonkeyPatch, sources: Mapping[str, str], module: str = "shop.app") -> Function:
    """Return the function ``f`` of a module of a program."""
    fn: Function = vars(install(monkeypatch, sources)[module])["f"]
    return fn


@pytest.mark.parametrize(("source", "counts"), NAMING.values(), ids=NAMING)
def test_values_of_other_modules_count_as_far_as_they_are_named(
    source: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a module of the program holds counts if the function names it, as edited and as set while it runs."""
    sources = {**PACKAGE, "shop.app": source}
    before = digest(asking(monkeypatch, sources))
    assert (
        digest(asking(monkeypatch, {**sources, PROMPTS: PACKAGE[PROMPTS].replace("'a'", "'b'")})) != before
        or not counts
    )
    fn = asking(monkeypatch, sources)
    current = read(fn)
    assert current().digest == before
    if not source.startswith("from shop.prompts import SYSTEM"):
        sys.modules[PROMPTS].SYSTEM = "b"  # type: ignore[attr-defined]  # the source above sets it
        assert (current().digest != before) is counts
        assert current().digest == digest(fn)


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ("from other import h\ndef f(q): return h(q)", False),
        ("import other\ndef f(q): return other.h(q)", False),
        ("def f(q):\n from other import h\n return h(q)", False),
        ("from other import N\ndef f(q): return N", True),
        ("from other import A\na = A()\ndef f(q): return a.n", False),
    ],
)
def test_code_of_another_package_does_not_count(source: str, counts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another package only the values that the program itself holds count, not its code."""
    other = "N = {0}\ndef h(q): return {0}\nclass A: n = {0}"
    texts = [other.format(n) for n in (1, 2)]
    one, two = (digest(asking(monkeypatch, {"other": text, **PACKAGE, "shop.app": source})) for text in texts)
    assert (one != two) is counts


def test_a_module_that_nobody_has_imported_yet_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the program that a function will import is named as missing until it is there; a library is not."""
    source = "def h():\n from .late import N\n return N\ndef f(q):\n import late_library\n return h()"
    fn = asking(monkeypatch, {**PACKAGE, "shop.app": source})
    current = read(fn)
    assert current().missing == "shop.late"
    late = ModuleType("shop.late")
    vars(late)["N"] = 1
    monkeypatch.setitem(sys.modules, "shop.late", late)
    assert identity(fn).missing is None
    assert current().missing is None
    before = current().digest
    vars(late)["N"] = 2
    assert current().digest != before


IGNORED_NAMES: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "global": ("def f(q): return X", "X", {"X": 2}, True),
    "another global": ("def f(q): return X, Y", "Y", {"X": 2}, False),
    "global of a helper": ("def h(): return X\ndef f(q): return h()", "X", {"X": 2}, True),
    "key": ("def f(q): return X", "X.a", {"X": {"a": 2, "b": 1}}, True),
    "another key": ("def f(q): return X", "X.b", {"X": {"a": 2, "b": 1}}, False),
}


@pytest.mark.parametrize(("source", "ignored", "values", "same"), IGNORED_NAMES.values(), ids=IGNORED_NAMES)
def test_what_is_ignored_does_not_count(source: str, ignored: str, values: dict[str, Any], same: bool) -> None:
    """A global that is ignored, or a key of it, does not count, in helpers as well; all else still does."""
    before = {"X": {"a": 1, "b": 1} if "." in ignored else 1, "Y": 1}
    one, other = defined(source, **before), defined(source, **{**before, **values})
    assert (digest(one, ignored) == digest(other, ignored)) is same
    assert digest(one) != digest(other)


def test_dotted_names_are_ignored_in_objects_and_classes() -> None:
    """An attribute of an object, of a class, or deep inside can be ignored alone."""
    source = "class A: n = {}\na = A()\na.x = {}\na.b = A()\na.b.y = {}\ndef f(q): return a, A"
    fn = defined(source.format(1, 1, 1))
    assert digest(fn, "a.x") == digest(defined(source.format(1, 2, 1)), "a.x")
    assert digest(fn, "a.b.y") == digest(defined(source.format(1, 1, 2)), "a.b.y")
    assert digest(fn, "a.x") != digest(defined(source.format(1, 1, 2)), "a.x")
    assert digest(fn, "a.x") != digest(defined(source.format(2, 1, 1)), "a.x")


def test_names_to_ignore_make_a_tree() -> None:
    """A name that is ignored as a whole leaves nothing of it to be ignored, and one of no value changes nothing."""
    assert ignore_tree(["a.b", "a", "c.d.e", "c.d"]) == {"a": {}, "c": {"d": {}}}
    assert without({"a": 1}, {}) == {"a": 1}
    assert without({"a": 1}, {"a": {}, "z": {}}) == Replaced({"a": 1}, {"a": IGNORED})


class CountingWatch(Watch):
    """Counts the functions that are read."""

    functions = 0

    def function(self, fn: Any) -> None:
        """Count a function."""
        self.functions += 1
        super().function(fn)


def functions_read(fn: Function) -> int:
    """Return how many functions are read for one function."""
    watch = CountingWatch()
    reader = Definitions(Scope("somewhere"), {}, watch)
    reader.digest(reader.callable_form(fn))
    return watch.functions


@pytest.mark.parametrize("calls", ["h{0}(q)", "h{1}(q) + h{0}(q)", " + ".join(f"h{each}(q)" for each in range(50))])
def test_each_function_is_read_once(calls: str) -> None:
    """Of fifty functions that call one another, each is read once, however many lead to it."""
    source = "def f(q): return h0(q)\n" + "\n".join(
        f"def h{at}(q): return {calls.format((at + 1) % 50, (at + 2) % 50)}" for at in range(50)
    )
    assert functions_read(defined(source)) == 51
    other = source.replace("def h49(q): return ", "def h49(q): return 1 + ")
    assert digest(defined(source)) == digest(defined(source)) != digest(defined(other))


def test_the_nearest_functions_are_read_and_no_more() -> None:
    """No more than `MAX_DEFINITIONS` functions are read, the nearest first; of those beyond, the first counts alone."""
    chain = [f"def h{at}(q): return h{at + 1}(q)" for at in range(2 * MAX_DEFINITIONS)]
    source = "\n".join(["def f(q): return h0(q)", *chain])
    last, following, far = (f"def h{MAX_DEFINITIONS - 2 + at}(q): return " for at in range(3))
    assert functions_read(defined(source)) == MAX_DEFINITIONS
    assert digest(defined(source)) != digest(defined(source.replace(last, last + "1 + ")))
    assert digest(defined(source)) != digest(defined(source.replace(following, following + "1 + ")))
    assert digest(defined(source)) == digest(defined(source.replace(far, far + "1 + ")))


def test_a_class_that_holds_itself_ends() -> None:
    """Classes, objects and containers that lead back to themselves are read once."""
    source = (
        "class A:\n def me(s): return A\n n = {}\nA.own = A\na = A()\na.a = a\nL = [a]\nL.append(L)\n"
        "def f(q): return a, L"
    )
    assert digest(defined(source.format(1))) == digest(defined(source.format(1))) != digest(defined(source.format(2)))


def test_conflicts_are_books_that_other_code_reads() -> None:
    """An attribute in which a class keeps books counts after all if other code reads one of its name."""
    fn = defined("class M:\n def tick(s): s.n += 1\nm = M()\nm.n = 0\ndef f(q): return m.tick(), q.n")

    def reading(leave: Leave) -> Definitions:
        reader = Definitions(Scope("somewhere"), {}, Watch(), leave=leave)
        reader.digest(reader.callable_form(fn))
        return reader

    first = reading(Leave())
    assert {(cls.__name__, method) for cls, method in first.reached} == {("M", "tick")}
    assert first.conflicts() == frozenset()
    second = reading(Leave(frozenset(first.reached)))
    assert second.conflicts() == {"n"}
    assert reading(Leave(frozenset(first.reached), second.conflicts())).conflicts() == frozenset()
