"""What code only keeps books in does not count: the calls that change it stay calls of the same function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.programs import digest, read, run

from recallm.keying.bookkeeping import NO_BOOKS, Books, argument_records, books_of, records
from recallm.keying.ignoring import COUNTER
from recallm.keying.usage import usage


def parts(source: str) -> tuple[dict[str, Any], Any]:
    """Return the namespace that a source leaves behind, and its ``f``."""
    namespace = run(source)
    return namespace, namespace["f"]


OWN = {
    "nonlocal counter": "def make():\n n = 0\n def f(q):\n  nonlocal n\n  n += 1\n  return q * n\n return f\n"
    "f = make()",
    "global counter": "N = 0\ndef f(q):\n global N\n N += 1\n return q",
    "counter in an inner function": "N = 0\ndef f(q):\n def g():\n  global N\n  N += 1\n g()\n return q",
    "counter in a helper": "N = 0\ndef h():\n global N\n N += 1\ndef f(q):\n h()\n return q",
    "last question": "LAST = None\ndef f(q):\n global LAST\n LAST = q\n return q",
    "list of calls": "CALLS = []\ndef f(q):\n CALLS.append(q)\n return q",
    "bounded list of calls": "CALLS = []\ndef f(q):\n CALLS.append(q)\n if len(CALLS) > 9: CALLS.clear()\n return q",
    "log by key": "LOG = {}\ndef f(q):\n LOG[q] = 1\n return q",
    "count by key": "LOG = {}\ndef f(q):\n LOG[q] = LOG.get(q, 0) + 1\n return q",
    "counter of the standard library": "import collections\nC = collections.Counter()\ndef f(q):\n C[q] += 1\n"
    " return q",
    "lists by key": "import collections\nL = collections.defaultdict(list)\ndef f(q):\n L[q].append(1)\n return q",
    "count in a dict": "STATS = {'n': 0}\ndef f(q):\n STATS['n'] += 1\n return q",
    "count in a namespace": "from types import SimpleNamespace as N\nS = N(n=0, m=1)\ndef f(q):\n S.n += 1\n"
    " return S.m",
    "count on the function": "def f(q):\n f.n += 1\n return q\nf.n = 0",
    "list on the function": "def f(q):\n f.calls.append(q)\n return q\nf.calls = []",
    "log of an object": "class S:\n def __init__(s): s.log = []\nS1 = S()\ndef f(q):\n S1.log.append(q)\n return q",
    "self": "class A:\n def __init__(s): s.n = 0\n def ask(s, q):\n  s.n += 1\n  return q\nf = A().ask",
    "self, nested": "class A:\n def __init__(s): s.u = {'n': 0}\n def ask(s, q):\n  s.u['n'] += 1\n  return q\n"
    "f = A().ask",
    "self, by another method": "class A:\n n = 0\n def _tick(s): s.n += 1\n def ask(s, q):\n  s._tick()\n  return q\n"
    "f = A().ask",
    "callable object": "class A:\n n = 0\n def __call__(s, q):\n  s.n += 1\n  return q\nf = A()",
    "slots": "class A:\n __slots__ = ('n',)\n def __init__(s): s.n = 0\n def ask(s, q):\n  s.n += 1\n  return q\n"
    "f = A().ask",
    "cls": "class A:\n n = 0\n @classmethod\n def ask(cls, q):\n  cls.n += 1\n  return q\nf = A.ask",
    "class by its name": "class A:\n n = 0\n def ask(s, q):\n  A.n += 1\n  return q\nf = A().ask",
    "self, in an inner function": "class A:\n def __init__(s): s.log = []\n def ask(s, q):\n"
    "  def note(): s.log.append(q)\n  note()\n  return q\nf = A().ask",
    "self, beside an inner function": "class A:\n n = 0\n m = 1\n def ask(s, q):\n  s.n += 1\n"
    "  return [s.m for _ in 'a'] + [(lambda: s.m)()]\nf = A().ask",
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass A:\n n: int = 0\n def tick(s): s.n += 1\n"
    "A1 = A()\ndef f(q):\n A1.tick()\n return q",
    "helper object": "class M:\n n = 0\n def tick(s): s.n += 1\nM1 = M()\ndef f(q):\n M1.tick()\n return q",
    "helper object in self": "class M:\n n = 0\n def tick(s): s.n += 1\nclass A:\n def __init__(s): s.m = M()\n"
    " def ask(s, q):\n  s.m.tick()\n  return q\nf = A().ask",
}


@pytest.mark.parametrize("source", OWN.values(), ids=OWN)
def test_what_a_function_keeps_for_itself_does_not_count(source: str) -> None:
    """Counters, logs and last values that a function or its helpers only write leave it the same function."""
    _, fn = parts(source)
    current = read(fn)
    before = current().digest
    fn(1)
    fn(2)
    assert current().digest == before == digest(fn)


SET_FROM_OUTSIDE = {
    "closed-over variable": (
        "def make():\n m = 1\n def f(q): return m\n def use(v):\n  nonlocal m\n  m = v\n return f, use\n"
        "f, use = make()",
        "use(2)",
    ),
    "global": ("M = 1\ndef f(q): return M\ndef use(v):\n global M\n M = v", "use(2)"),
    "attribute": (
        "class A:\n m = 1\n def use(s, v): s.m = v\n def ask(s, q): return s.m\na = A()\nf = a.ask", "a.use(2)"
    ),
    "attribute of a helper": (
        "class A:\n m = 1\n def use(s, v): s.m = v\n def ask(s, q): return s.m\na = A()\ndef f(q): return a.ask(q)",
        "a.use(2)",
    ),
    "class attribute": ("class A:\n m = 1\n @classmethod\n def use(c, v): c.m = v\ndef f(q): return A.m", "A.use(2)"),
    "attribute beside a counter": (
        "from types import SimpleNamespace as N\nS = N(n=0, m=1)\ndef f(q):\n S.n += 1\n return S.m", "S.m = 2"
    ),
    "counter read elsewhere": ("class M:\n n = 0\n def tick(s): s.n += 1\nm = M()\ndef f(q): return m.n", "m.tick()"),
    "history handed on": ("H = []\ndef f(q):\n H.append(q)\n return call(messages=H)", "H.append(1)"),
    "history of self": (
        "class A:\n h = []\n def ask(s, q):\n  s.h.append(q)\n  return call(s.h)\na = A()\nf = a.ask",
        "a.h.append(1)",
    ),
    "history that an inner function hands on": (
        "class A:\n h = []\n def ask(s, q):\n  s.h.append(q)\n  return (lambda: call(s))()\na = A()\nf = a.ask",
        "a.h.append(1)",
    ),
    "history that an inner function reads": (
        "class A:\n h = []\n def ask(s, q):\n  s.h.append(q)\n  return [call(s.h) for _ in q]\na = A()\nf = a.ask",
        "a.h.append(1)",
    ),
    "history of an object under another name": (
        "class A:\n h = []\n def ask(s, q):\n  s.h.append(q)\n  s = wrap(s)\n  return call(s)\na = A()\nf = a.ask",
        "a.h.append(1)",
    ),
    "history by index": ("H = [1]\ndef f(q):\n H.append(q)\n return H[-2]", "H.append(2)"),
    "length before it is added to": ("LOG = {}\ndef f(q):\n LOG[q] = len(LOG)\n return q", "LOG[1] = 1"),
    "text that grows": ("T = 'a'\ndef f(q):\n global T\n T += q\n return T", "T = 'b'"),
    "list that grows": ("T = []\ndef f(q):\n global T\n T += [q]\n return T", "T += [1]"),
    "setter that is not called": (
        "class A:\n m = 1\n def use(s, v): s.m = v\n def ask(s, q): return q\na = A()\nf = a.ask", "a.use(2)"
    ),
    "counter that another method sets": (
        "class A:\n n = 0\n def ask(s, q):\n  s.n += 1\n  return s.n\n def reset(s): s.n = 0\na = A()\nf = a.ask",
        "a.n = 5",
    ),
    "queue": ("Q = [1, 2]\ndef f(q): return Q.pop()", "Q.append(3)"),
    "default kept": ("D = {}\ndef f(q): return D.setdefault('a', q)", "D['a'] = 1"),
    "object with a method named like a container's": (
        "class A:\n n = 1\n def add(s, v): return v + s.n\na = A()\ndef f(q): return a.add(q)", "a.n = 2"
    ),
    "object that changes its argument": (
        "class A:\n n = 1\n def extend(s, v): v.append(s.n)\na = A()\ndef f(q):\n a.extend(q)\n return q", "a.n = 2"
    ),
    "attribute of the function": ("def f(q): return f.m\nf.m = 1", "f.m = 2"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "change"), SET_FROM_OUTSIDE.values(), ids=SET_FROM_OUTSIDE)
def test_what_is_read_counts_whoever_sets_it(source: str, change: str) -> None:
    """What setters set from outside, and history that is read for an answer, makes another function."""
    namespace, fn = parts(source)
    current = read(fn)
    before = current().digest
    exec(change, namespace)  # noqa: S102  # the changes are those of the table
    assert current().digest != before
    assert current().digest == digest(fn)


def test_records_in_attributes_are_a_tree() -> None:
    """The attributes of a variable that code only writes are its records, unless it hands the variable on."""
    source = "def f(q):\n S.n += 1\n S.log.append(q)\n S.last = q\n return S.model"
    held = SimpleNamespace(n=0, log=[], last=None, model="m")
    assert records(usage(run(source)["f"].__code__), ("global S",), held) == {"n": {}, "log": {}, "last": {}}
    for use in ("g(S)", "S.flush()", "S"):
        handed_on = usage(run(source.replace("S.model", use))["f"].__code__)
        assert records(handed_on, ("global S",), held) == {}


def test_records_in_arguments_are_found_by_name() -> None:
    """A function keeps books in its own object or class alone; for what has no code there are none."""
    body = "{0}.n += 1\n {0}.total += 1\n {0}.calls.append(q)\n return {0}.model, {0}.total"
    for name in ("self", "cls", "state"):
        fn = run(f"def f({name}, q):\n {body.format(name)}")["f"]
        own = {name: {"n": {}, "total": COUNTER, "calls": {}}}
        assert argument_records(fn, [name, "q"]) == ({} if name == "state" else own)
    assert argument_records(len, ["self"]) == {}


BOOKS = {
    "counter": ("def a(s): s.n += 1", {"n"}, {"n"}),
    "counter that is read": ("def a(s):\n  s.n += 1\n  return s.n", set(), {"n"}),
    "counter that is cleared": ("def a(s):\n  s.n += 1\n  if s.n > 9: s.n = 0", set(), set()),
    "log": ("def a(s, q): s.log.append(q)", {"log"}, set()),
    "set before it is read": ("def a(s, q):\n  s.x = q\n  return s.x", {"x"}, set()),
    "by a method that is called": ("def a(s): s.b()\n def b(s): s.n += 1", {"n"}, {"n"}),
    "by a method that is not called": ("def a(s): pass\n def b(s): s.n += 1", set(), set()),
    "set by a method that is not called": ("def a(s): s.n += 1\n def b(s): s.n = 0", set(), set()),
    "read by another method": ("def a(s): s.n += 1\n def b(s): return s.n", set(), set()),
    "read by a property": ("def a(s): s.n += 1\n @property\n def b(s): return s.n", set(), set()),
    "read by repr": ("def a(s): s.n += 1\n def __repr__(s): return str(s.n)", {"n"}, {"n"}),
    "set by its maker": ("def __init__(s): s.n = 0\n def a(s): s.n += 1", {"n"}, {"n"}),
    "set by its maker alone": ("def __init__(s, n): s.n = n\n def a(s): pass", set(), set()),
    "handed on as a whole": ("def a(s):\n  s.n += 1\n  return g(s)", set(), set()),
    "handed on by another method": ("def a(s): s.n += 1\n def b(s): g(s)", set(), set()),
    "method that nobody defines": ("def a(s):\n  s.n += 1\n  s.other()", set(), set()),
    "all attributes": ("def a(s):\n  s.n += 1\n  return s.__dict__", set(), set()),
    "class method": ("@classmethod\n def a(cls): cls.n += 1", {"n"}, {"n"}),
    "by the name of the class": ("def a(s): A.n += 1", {"n"}, {"n"}),
    "static method": ("@staticmethod\n def a(): pass", set(), set()),
    "by a setter": ("def a(s): pass\n def _set(s, v): s.x = v\n b = property(None, _set)", set(), set()),
}  # fmt: skip


@pytest.mark.parametrize(("body", "records", "counters"), BOOKS.values(), ids=BOOKS)
def test_a_class_keeps_books_in_what_its_methods_only_write(body: str, records: set[str], counters: set[str]) -> None:
    """What the methods that run write, and no other method sets or reads, is a record, or a counter while a number."""
    cls = run(f"class A:\n {body}")["A"]
    assert books_of([cls], ["a"]) == Books(frozenset(records), frozenset(counters))
    assert books_of([cls], []) == NO_BOOKS


def test_books_are_those_of_all_classes_together() -> None:
    """What a base class writes is no book if a subclass reads it."""
    namespace = run("class A:\n def a(s): s.n += 1\nclass B(A):\n def b(s): return s.n")
    assert books_of([namespace["A"]], ["a"]) == Books(frozenset("n"), frozenset("n"))
    assert books_of([namespace["B"], namespace["A"]], ["a"]) == NO_BOOKS


def test_a_counter_counts_once_it_is_no_number() -> None:
    """Of an object's attributes records never count, and counters do unless they hold a number."""
    books = Books(frozenset({"log"}), frozenset({"n", "text", "flag", "absent"}))
    assert books.uncounted({"log": [], "n": 1, "text": "a", "flag": True, "model": "m"}) == {"log", "n"}
    assert NO_BOOKS.uncounted({"n": 1}) == frozenset()
