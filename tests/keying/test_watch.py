"""Whatever was read and has changed since is noticed, object by object, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from types import CellType, SimpleNamespace
from typing import Any

import pytest
from support.programs import digest, read, run

from recallm.keying.watch import UNSET, Watch, cell_value

F = "\ndef f(q): return X, q"

CHANGES = {
    "global rebound": ("X = 1" + F, "X = 2"),
    "global deleted": ("X = 1" + F, "del X"),
    "global that appears": (F, "X = 1"),
    "builtin shadowed later": ("def f(q): return len(q)", "len = max"),
    "item of a dict": ("X = {'a': 1}" + F, "X['a'] = 2"),
    "key of a dict": ("X = {'a': 1}" + F, "X['b'] = X.pop('a')"),
    "item of a large dict": ("X = dict(zip(range(99), range(99)))" + F, "X[50] = 0"),
    "item of a list": ("X = [1]" + F, "X[0] = 2"),
    "list that grows": ("X = [1]" + F, "X.append(2)"),
    "list deep inside": ("X = [{'a': ([1],)}]" + F, "X[0]['a'][0].append(2)"),
    "list of floats": ("X = [0.5] * 20" + F, "X[7] = 1.5"),
    "set": ("X = {1}" + F, "X.add(2)"),
    "bytearray": ("X = bytearray(b'a')" + F, "X[0] = 1"),
    "array": ("import array\nX = array.array('i', [1])" + F, "X[0] = 2"),
    "deque": ("import collections\nX = collections.deque([1])" + F, "X[0] = 2"),
    "ordered dict": ("import collections\nX = collections.OrderedDict(a=1, b=2)" + F, "X.move_to_end('a')"),
    "read-only view of a dict": ("import types\nD = {'a': 1}\nX = types.MappingProxyType(D)" + F, "D['a'] = 2"),
    "chain of dicts": ("import collections\nD = {'a': 1}\nX = collections.ChainMap(D)" + F, "D['a'] = 2"),
    "numpy array": ("import numpy\nX = numpy.zeros(3)" + F, "X[0] = 1"),
    "subclass of dict": ("class D(dict): pass\nX = D(a=1)" + F, "X['a'] = 2"),
    "attribute": ("class A: a = 0\nX = A()\nX.a = 1" + F, "X.a = 2"),
    "attribute deleted": ("class A: pass\nX = A()\nX.a = 1" + F, "del X.a"),
    "attribute of a namespace": ("import types\nX = types.SimpleNamespace(a=1)" + F, "X.a = 2"),
    "slot": ("class A: __slots__ = ('a',)\nX = A()\nX.a = 1" + F, "X.a = 2"),
    "field of a dataclass": ("import dataclasses\n@dataclasses.dataclass\nclass A: a: int = 1\nX = A()" + F, "X.a = 2"),
    "field of a model": ("import pydantic\nclass A(pydantic.BaseModel): a: int = 1\nX = A()" + F, "X.a = 2"),
    "class of an object": ("class A: pass\nclass B: pass\nX = A()" + F, "X.__class__ = B"),
    "class with the same slots": (
        "class A: __slots__ = ('a',)\nclass B: __slots__ = ('a',)\nX = A()\nX.a = 1" + F, "X.__class__ = B"
    ),
    "class with the same base": (
        "class Base: pass\nclass A(Base): pass\nclass B(Base): pass\nX = A()" + F, "X.__class__ = B"
    ),
    "attribute of a class": ("class A: a = 1\nX = A()" + F, "A.a = 2"),
    "new attribute of a class": ("class A: pass\nX = A()" + F, "A.a = 2"),
    "attribute of a base class": ("class B: a = 1\nclass A(B): pass\nX = A()" + F, "B.a = 2"),
    "base classes": ("class B: a = 1\nclass C: a = 2\nclass A(B): pass\ndef f(q): return A.a", "A.__bases__ = (C,)"),
    "method replaced": ("class A:\n def m(s): return 1\nX = A()" + F, "A.m = lambda s: 2"),
    "code of a method": ("class A:\n def m(s): return 1\nX = A()" + F, "A.m.__code__ = (lambda s: 2).__code__"),
    "global of a property": (
        "Y = 1\nclass A:\n @property\n def p(s): return Y\nX = A()\ndef f(q): return X.p", "Y = 2"
    ),
    "global of a metaclass": (
        "Y = 1\nclass M(type):\n def p(c): return Y\nclass A(metaclass=M): pass\ndef f(q): return A.p()", "Y = 2"
    ),
    "class redefined": ("class A: a = 1\ndef f(q): return A.a", "class A: a = 2"),
    "enum redefined": (
        "import enum\nclass E(enum.Enum): A = 1\ndef f(q): return E.A.value", "class E(enum.Enum): A = 2"
    ),
    "value of an enum member": ("import enum\nclass E(enum.Enum): A = 1\nX = E.A" + F, "X._value_ = 2"),
    "attribute of an enum member": (
        "import enum\nclass E(enum.Enum):\n A = 1\n def __init__(s, v): s.v = v\nX = E.A" + F, "X.v = 2"
    ),
    "__code__": ("def f(q): return 1", "f.__code__ = (lambda q: 2).__code__"),
    "__defaults__": ("def f(q=1): return q", "f.__defaults__ = (2,)"),
    "__kwdefaults__": ("def f(*, q=1): return q", "f.__kwdefaults__ = {'q': 2}"),
    "item of __kwdefaults__": ("def f(*, q=1): return q", "f.__kwdefaults__['q'] = 2"),
    "list in a default": ("def f(q=[1]): return q", "f.__defaults__[0].append(2)"),
    "attribute of the function": ("def f(q): return f.m\nf.m = 1", "f.m = 2"),
    "new attribute of the function": ("def f(q): return getattr(f, 'm', 1)", "f.m = 2"),
    "__code__ of a helper": ("def h(): return 1\ndef f(q): return h()", "h.__code__ = (lambda: 2).__code__"),
    "__defaults__ of a helper": ("def h(a=1): return a\ndef f(q): return h()", "h.__defaults__ = (2,)"),
    "helper rebound": ("def h(): return 1\ndef f(q): return h()", "def h(): return 2"),
    "global of a helper": ("Y = 1\ndef h(): return Y\ndef f(q): return h()", "Y = 2"),
    "closed-over variable": (
        "def make():\n x = 1\n def f(q): return x\n def use(v):\n  nonlocal x\n  x = v\n return f, use\n"
        "f, use = make()",
        "use(2)",
    ),
    "keyword of a partial": (
        "import functools\ndef g(q, s): return s\nf = functools.partial(g, s=1)", "f.keywords['s'] = 2"
    ),
    "list in a partial": (
        "import functools\nD = [1]\ndef g(q, s): return s\nf = functools.partial(g, s=D)", "D.append(2)"
    ),
    "attribute behind a bound method": ("class A:\n def m(s, q): return s.x\na = A()\na.x = 1\nf = a.m", "a.x = 2"),
    "attribute of a callable object": ("class A:\n def __call__(s, q): return s.x\nf = A()\nf.x = 1", "f.x = 2"),
    "list in a callable object": ("class A:\n def __call__(s, q): return s.x\nf = A()\nf.x = [1]", "f.x.append(2)"),
    "global under functools.wraps": (
        "import functools\nX = 1\ndef g(q): return X\n@functools.wraps(g)\ndef f(q): return g(q)", "X = 2"
    ),
    "global under lru_cache": ("import functools\nX = 1\n@functools.lru_cache\ndef f(q): return X", "X = 2"),
    "global under wrapt": (
        "import wrapt\nX = 1\n@wrapt.decorator\ndef d(w, i, a, k): return w(*a, **k)\n@d\ndef f(q): return X", "X = 2"
    ),
    "helper under wrapt": (
        "import wrapt\n@wrapt.decorator\ndef d(w, i, a, k): return w(*a, **k)\nX = 1\n@d\ndef h(q): return X\n"
        "def f(q): return h(q)", "X = 2"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "change"), CHANGES.values(), ids=CHANGES)
def test_a_change_makes_another_function(source: str, change: str) -> None:
    """What was set or mutated since is noticed at the next call, whatever holds it."""
    namespace = run(source)
    current = read(namespace["f"])
    before = current().digest
    assert current().digest == before == digest(namespace["f"])
    exec(change, namespace)  # noqa: S102  # the changes are those of the table
    assert current().digest != before
    assert current().digest == digest(namespace["f"])


SAME = {
    "another global": ("X = 1\nY = 1" + F, "Y = 2"),
    "an equal value": ("X = [1000]" + F, "X = [1000]"),
    "helper defined again": ("def h(): return 1\ndef f(q): return h()", "def h():\n  'Say it.'\n  return 1"),
    "class defined again": ("class A: a = 1\ndef f(q): return A.a", "class A:\n  'Say it.'\n  a = 1"),
    "class with slots defined again": (
        "class A: __slots__ = ('a',)\ndef f(q): return A()", "class A:\n  'Say it.'\n  __slots__ = ('a',)"
    ),
    "annotations of the module": ("X = 1" + F, "__annotations__ = {'X': int}"),
    "global under the name of a local": ("def f(q):\n X = q\n return X", "X = 2"),
    "change that is undone": ("X = [1]" + F, "X.append(2)\nX.pop()"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "change"), SAME.values(), ids=SAME)
def test_what_says_the_same_is_the_same_function(source: str, change: str) -> None:
    """What does not count, or takes the place of its equal, leaves the function as it was."""
    namespace = run(source)
    current = read(namespace["f"])
    before = current().digest
    exec(change, namespace)  # noqa: S102  # the changes are those of the table
    assert current().digest == before


def _filled() -> SimpleNamespace:
    return SimpleNamespace(
        names={"a": [1]}, cell=CellType([1]), items=[[1], [2]], mapping={"a": [1]}, buffer=bytearray(b"a")
    )


WATCHED: dict[str, tuple[Callable[[Watch, Any], None], Callable[[Any], object]]] = {
    "name": (lambda watch, held: watch.names(held.names, ["a"]), lambda held: held.names.update(a=[1])),
    "name that goes": (lambda watch, held: watch.names(held.names, ["a"]), lambda held: held.names.clear()),
    "name that comes": (lambda watch, held: watch.names(held.names, ["b"]), lambda held: held.names.update(b=1)),
    "cell": (lambda watch, held: watch.cell(held.cell), lambda held: setattr(held.cell, "cell_contents", [1])),
    "items": (lambda watch, held: watch.items(held.items), lambda held: held.items.reverse()),
    "more items": (lambda watch, held: watch.items(held.items), lambda held: held.items.append(1)),
    "value": (lambda watch, held: watch.mapping(held.mapping), lambda held: held.mapping.update(a=[1])),
    "key": (lambda watch, held: watch.mapping(held.mapping), lambda held: held.mapping.update(b=1)),
    "state": (lambda watch, held: watch.state(lambda: [*held.items]), lambda held: held.items.pop()),
    "content": (lambda watch, held: watch.content(lambda: bytes(held.buffer)), lambda held: held.buffer.append(1)),
}


@pytest.mark.parametrize(("watch_it", "change"), WATCHED.values(), ids=WATCHED)
def test_a_watch_notices_by_identity(watch_it: Callable[[Watch, Any], None], change: Callable[[Any], object]) -> None:
    """A watch finds all unchanged until something is replaced, were it by its equal."""
    watch, held = Watch(), _filled()
    watch_it(watch, held)
    assert watch.unchanged()
    assert watch.unchanged()
    change(held)
    assert not watch.unchanged()


def test_an_empty_watch_finds_nothing_changed() -> None:
    """A watch that was told of nothing notices nothing."""
    assert Watch().unchanged()


def test_names_are_watched_as_they_were_first_seen() -> None:
    """If a name is watched twice, its first meaning is the one that counts."""
    watch, namespace = Watch(), {"a": 1, "b": 2}
    watch.names(namespace, ["a"])
    namespace["a"] = 3
    watch.names(namespace, ["a", "b"])
    assert not watch.unchanged()


def test_attributes_are_watched_where_they_lie() -> None:
    """Attributes are read past what a class makes of them."""

    class Evasive:
        def __getattribute__(self, name: str) -> Any:
            return 1

    value, watch = Evasive(), Watch()
    watch.attributes(value)
    assert watch.unchanged()
    object.__setattr__(value, "a", 1)
    assert not watch.unchanged()


@pytest.mark.parametrize("error", [KeyError, RuntimeError, TypeError])
def test_what_cannot_be_compared_counts_as_changed(error: type[Exception]) -> None:
    """If something changes while it is compared, as by another thread, it is read again, and nobody sees the error."""
    answers: list[object] = [1]

    def look() -> object:
        if not answers:
            raise error
        return answers.pop()

    watch = Watch()
    watch.content(look)
    assert not watch.unchanged()


def test_an_unset_cell_has_a_value_of_its_own() -> None:
    """A closed-over variable that is not set yet is `UNSET`, which no other value is."""
    cell = CellType()
    assert cell_value(cell) is UNSET
    cell.cell_contents = None
    assert cell_value(cell) is None
