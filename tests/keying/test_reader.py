"""One reading of values: how much is read, what is met again, and what an error says of where it was."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keying.making import Bag, Plain, Point, Record, form, with_attributes

from recallm.errors import UnfingerprintableError
from recallm.keying.bookkeeping import NO_BOOKS
from recallm.keying.canonical import ValueReader, canonical
from recallm.keying.reader import (
    MAX_DEPTH,
    MAX_VALUES,
    Elsewhere,
    Reader,
    UnreadableError,
    documentation,
    length_prefixed,
    module_path,
    type_path,
)


class Counting(ValueReader):
    """Counts the values that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def form(self, value: object) -> bytes:
        """Return the form of one more value."""
        self.count += 1
        return super().form(value)


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_length_prefixes_keep_parts_apart(one: list[bytes], other: list[bytes]) -> None:
    """Two lists of parts are joined into the same bytes only if they are equal: no part runs into the next."""
    assert (length_prefixed(b"t", one) == length_prefixed(b"t", other)) == (one == other)


def test_many_parts_are_kept_apart_too() -> None:
    """More parts than most values have are joined in the same way."""
    forms = [length_prefixed(b"t", [b"a"] * count) for count in range(200)]
    assert len(set(forms)) == 200
    assert length_prefixed(b"t", iter([b"a"] * 63)) == forms[63]


WRAPPERS: dict[str, Callable[[object], object]] = {
    "list": lambda below: [below],
    "mapping": lambda below: {"k": below},
    "object": lambda below: Plain(k=below),
    "subclass": lambda below: Bag([below]),
    "ordered": lambda below: OrderedDict(k=below),
}


def nested(levels: int, wrap: Callable[[object], object]) -> object:
    """Return an empty list inside `levels` layers of what `wrap` makes."""
    value: object = []
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize("kind", WRAPPERS)
def test_values_nest_as_deep_as_the_limit(kind: str) -> None:
    """Up to the limit each level counts; deeper values are refused before the stack is exhausted."""
    wrap = WRAPPERS[kind]
    assert form(nested(MAX_DEPTH, wrap)) != form(nested(MAX_DEPTH - 1, wrap))
    for levels in (MAX_DEPTH + 1, 100 * MAX_DEPTH):
        with pytest.raises(UnreadableError, match=f"deeper than {MAX_DEPTH} levels"):
            form(nested(levels, wrap))


@pytest.mark.parametrize(
    "value",
    [
        [None] * (MAX_VALUES + 1),
        dict.fromkeys(range(MAX_VALUES + 1)),
        set(range(MAX_VALUES + 1)),
        [[number] for number in range(MAX_VALUES // 2 + 1)],
        [{"a": number, "b": 1} for number in range(MAX_VALUES // 2 + 1)],
        [Plain() for _ in range(MAX_VALUES // 2 + 1)],
        "a" * (1024 * (MAX_VALUES + 1)),
        b"a" * (1024 * (MAX_VALUES + 1)),
        bytearray(1024 * (MAX_VALUES + 1)),
        [[float(number)] * 10_000 for number in range(700)],
    ],
    ids="list mapping set lists mappings objects text bytes buffer floats".split(),
)
def test_more_than_the_limit_is_refused(value: object) -> None:
    """What would take too long to read at each call is refused, whatever it is made of."""
    with pytest.raises(UnreadableError, match=f"more than {MAX_VALUES} values"):
        form(value)


@pytest.mark.parametrize("value", [[0.5] * 1_000_000, "a" * 1_000_000, [None] * (MAX_VALUES - 1)], ids=type)
def test_large_values_within_the_limit_are_read(value: Any) -> None:
    """A million numbers or letters are read, and each of them counts."""
    assert form(value) != form(value[:-1])


def diamond(levels: int, bottom: object) -> object:
    """Return a value in which each level holds the level below it twice."""
    value = bottom
    for _ in range(levels):
        value = [value, value]
    return value


def test_what_is_shared_is_read_once() -> None:
    """Ninety levels, each of which holds the next twice, are read in as many steps and not in 2**90."""
    reader = Counting()
    whole = reader.form(diamond(90, [1]))
    assert reader.count < 300
    assert len(whole) < 2000
    assert whole != canonical(diamond(90, [2]))
    assert whole == canonical(diamond(90, [1]))


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("content", ["short", "long " * 1000])
def test_sharing_does_not_count(wrap: Callable[[object], object], content: str) -> None:
    """Two values that hold equal things have one form, whether these are one object or several."""
    shared = wrap([content])
    assert form([shared, shared, {"k": shared}]) == form([wrap([content]), wrap([content]), {"k": wrap([content])}])
    assert form([shared, shared]) != form([shared, wrap([content, 1])])


def test_the_order_in_which_a_mapping_was_filled_does_not_count_for_what_its_items_share() -> None:
    """Items that hold each other are read in one order, whichever was put in first."""

    def parent_and_child(order: list[str]) -> dict[str, object]:
        parent, child = Plain(name="p"), Plain(name="c")
        parent.child, child.parent = child, parent  # type: ignore[attr-defined]
        held = {"parent": parent, "child": child}
        return {name: held[name] for name in order}

    assert form(parent_and_child(["parent", "child"])) == form(parent_and_child(["child", "parent"]))


def cyclic(kind: str, mark: object) -> Any:
    """Return a value that holds itself, and a mark."""
    value: Any = {"list": [mark], "mapping": {"m": mark}, "object": Plain(m=mark), "bag": Bag([mark])}.get(kind)
    match kind:
        case "list" | "bag":
            value.append(value)
        case "mapping":
            value["self"] = value
        case "object":
            value.own = value
        case _:
            value = with_attributes(Record(m=mark), note=None)
            value.note = [value]
    return value


@pytest.mark.parametrize("kind", "list mapping object bag slot".split())
def test_a_value_may_hold_itself(kind: str) -> None:
    """A cycle is read to its end: an equal one has the same form, one with another mark has not."""
    assert form(cyclic(kind, 1)) == form(cyclic(kind, 1))
    assert form(cyclic(kind, 1)) != form(cyclic(kind, 2))
    assert form([cyclic(kind, 1), 1]) != form([cyclic(kind, 1), 2])


def test_what_a_cycle_leads_back_to_counts() -> None:
    """A list that holds itself, one that holds one that does, and one that holds what is around it, are three."""
    own: list[object] = []
    own.append(own)
    inner: list[object] = []
    around = [inner, 1]
    inner.append(around)
    other: list[object] = []
    other.append([other, 1])
    assert len({form(own), form([own, 1]), form(around), form(inner)}) == 4
    assert form(inner) == form(other)


def test_a_child_that_knows_its_parent_is_read_in_every_place() -> None:
    """What lies in a cycle has a form for its place alone: elsewhere it is read again."""
    parent = Plain(name="p")
    child = Plain(name="c", parent=parent)
    parent.children = [child, child]  # type: ignore[attr-defined]
    assert form([parent, child]) == form(deepcopy([parent, child]))
    assert form([parent, child]) != form([child, parent])
    stranger = Plain(name="p", children=[])
    assert form([parent, child]) != form([parent, Plain(name="c", parent=stranger)])


edges = st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=5, max_size=5)


def graph(links: list[list[int]], kinds: list[int], marks: list[int]) -> Any:
    """Return the first of five nodes, lists, mappings or objects, that hold each other as `links` tell."""
    nodes: list[Any] = [([], {}, Plain())[kind] for kind in kinds]
    for node, mark, held in zip(nodes, marks, links, strict=True):
        targets = [mark, *(nodes[number] for number in held)]
        if isinstance(node, list):
            node.extend(targets)
        else:
            named = {str(number): target for number, target in enumerate(targets)}
            (node if isinstance(node, dict) else vars(node)).update(named)
    return nodes[0]


def unfolded(value: Any, levels: int) -> str:
    """Return a text of what is seen of a value by following it down so many levels, whatever is shared."""
    if isinstance(value, int):
        return str(value)
    if not levels:
        return "…"
    held = value if isinstance(value, list) else list((value if isinstance(value, dict) else vars(value)).values())
    return f"{type(value).__name__}({', '.join(unfolded(each, levels - 1) for each in held)})"


kinds, marks = (st.lists(st.integers(0, top), min_size=5, max_size=5) for top in (2, 1))


@given(edges, kinds, marks, st.integers(0, 4), st.lists(st.integers(0, 4), max_size=3))
def test_graphs_share_a_form_only_if_they_look_the_same(
    links: list[list[int]], kinds: list[int], marks: list[int], at: int, held: list[int]
) -> None:
    """Graphs with cycles and shared nodes that differ in what one node holds share a form only if it is never seen."""
    changed = [*links]
    changed[at] = held
    one, other = graph(links, kinds, marks), graph(changed, kinds, marks)
    assert form(one) == form(deepcopy(one))
    if form(one) == form(other):
        assert unfolded(one, 8) == unfolded(other, 8)


@given(edges, kinds, marks, st.integers(0, 4), st.integers(0, 2))
def test_graphs_that_differ_in_one_node_differ(
    links: list[list[int]], kinds: list[int], marks: list[int], at: int, kind: int
) -> None:
    """A graph in which one node is of another kind has another form exactly if the node can be seen from the first."""
    changed = [*kinds]
    changed[at] = kind
    one, other = graph(links, kinds, marks), graph(links, changed, marks)
    assert (form(one) == form(other)) == (unfolded(one, 6) == unfolded(other, 6))


def test_values_that_are_met_later_are_not_taken_for_what_was_there_before() -> None:
    """What a reading makes for itself, such as an ordered mapping's pairs, is not known again by where it lay."""
    assert form([OrderedDict(a=1), OrderedDict(a=2)]) != form([OrderedDict(a=1), OrderedDict(a=1)])
    many = [OrderedDict(number=number) for number in range(50)]
    assert form(many) == form(deepcopy(many))
    assert form(many) != form([*many[:-1], many[0]])


def test_an_error_tells_the_way_to_what_cannot_be_read() -> None:
    """Each step from the value down is there, the innermost first, with the class of what lies there."""
    unreadable = object()
    with pytest.raises(UnreadableError) as caught:
        form({"a": (Point(1, with_attributes(Bag([0, unreadable]), note="n")),)})
    assert caught.value.trail == [("[1]", object), (".y", Bag), ("[0]", Point), ("['a']", tuple)]
    assert caught.value.live is object
    assert isinstance(caught.value, UnfingerprintableError)


def test_a_reader_for_no_values_in_particular_reads_none() -> None:
    """The base owns no module, knows a class by its path, and reads no functions."""
    reader = Reader()
    assert not reader.is_own("anything")
    assert reader.class_form(Point) == reader.class_value_form(Point, frozenset())
    assert reader.class_form(Point).endswith(b".Point")
    assert reader.books(Point) == NO_BOOKS
    with pytest.raises(NotImplementedError):
        reader.form(1)
    with pytest.raises(UnreadableError, match="function"):
        reader.function_form(nested)


@pytest.mark.parametrize(("name", "expected"), [("json", "json"), ("a.b", "a.b"), (None, "builtins"), ("", "builtins")])
def test_a_module_goes_by_its_name(name: str | None, expected: str) -> None:
    """A module's path is its name; what has no module counts as built in."""
    assert module_path(name) == expected


@pytest.mark.parametrize("arguments", [["asked.py"], ["-m", "asked"]], ids=["script", "module"])
def test_a_script_is_the_module_that_its_file_would_be(arguments: list[str], tmp_path: Path) -> None:
    """A class that a script defines has the path under which others would import it."""
    (tmp_path / "asked.py").write_text(
        "import sys; from recallm.keying.reader import module_path, type_path\n"
        "sys.modules['__mp_main__'] = sys.modules['__main__']  # as multiprocessing does\n"
        "class Own: pass\n"
        "print(module_path('__main__'), module_path('__mp_main__'), type_path(Own).decode())\n"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["asked", "asked", "asked.Own"], done.stderr


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"__name__": "__main__", "__file__": "/home/me/shop.py"}, "shop"),
        ({"__name__": "__mp_main__", "__file__": r"C:\me\shop.py", "__package__": ""}, "shop"),
        ({"__name__": "__main__", "__file__": "/home/me/shop/app.py", "__package__": "shop"}, "shop.app"),
        ({"__name__": "__main__"}, "__main__"),
    ],
)
def test_a_script_that_runs_elsewhere_goes_by_its_file(names: dict[str, Any], expected: str) -> None:
    """A function that was sent here says by its variables which script it is of; this process runs another one."""
    assert module_path("__main__", names) == expected
    assert module_path("shop.app", names) == "shop.app"
    assert module_path("__main__", {"__name__": "a library's"}) == module_path("__main__")


class Sent(Enum):
    """An enum of a script; it defines no function that says which one."""

    __module__ = "__main__"
    ONE = 1


class SentToo:
    """A class of a script that has a method, which says which script that is."""

    __module__ = "__main__"
    name = FunctionType((lambda self: "").__code__, {"__name__": "__main__", "__file__": "other.py"})


def test_a_class_of_a_script_that_runs_elsewhere_goes_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes that were sent here are the script's that they come from, which is known once a function has come."""
    here = module_path("__main__")
    monkeypatch.setattr(Elsewhere, "path", None)
    assert type_path(Sent).decode() == f"{here}.Sent"
    Elsewhere.add(here)
    assert Elsewhere.path is None
    Elsewhere.add("shop")
    Elsewhere.add("another")
    assert type_path(Sent) == b"shop.Sent"
    assert type_path(SentToo) == b"other.SentToo"
    monkeypatch.setattr(sys.modules["__main__"], "Sent", Sent, raising=False)
    assert type_path(Sent).decode() == f"{here}.Sent"


def test_what_dataclasses_writes_of_a_script_names_its_module() -> None:
    """The docstring that `dataclasses` makes of the fields is the same whatever a script's module is called."""
    made: Any = dataclass(type("Made", (), {"__annotations__": {"of": Sent}, "__module__": "__main__"}))
    assert documentation(made, made.__doc__) == f"Made(of: {module_path('__main__')}.Sent)"
    assert documentation(made, "Made of __main__.Sent") == "Made of __main__.Sent"
    assert documentation(Point, "Point(of: __main__.Sent)") == "Point(of: __main__.Sent)"
    assert documentation(made, None) is None
