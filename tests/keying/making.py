"""What the tests of this room share: keyers, and values of every shape with a text that tells them apart."""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import strategies as st

from recallm.keying.chat import take_prompt
from recallm.keying.identity import FunctionIdentity
from recallm.keying.ignoring import ignore_tree
from recallm.keying.keyer import Keyer, Request, fixed_forms
from recallm.keying.reader import Reader
from recallm.keying.signature import Binder, checked_ignore, checked_prompt
from recallm.keying.tokens import Tokens
from recallm.records import Bypass, Failure, Query

TOKENS = Tokens(partial(os.urandom, 16))


def keyer(fn: Callable[..., Any], **options: Any) -> Keyer:
    """Return the keyer of `fn`; its context is empty unless one is given."""
    binder = Binder(fn)
    ignored = checked_ignore(fn, binder, options.pop("ignore", ()))
    ignore = ignore_tree(ignored)
    identity = FunctionIdentity(fn, ignore, TOKENS, options.pop("version", None))
    rest = {"context": {}, "namespace": "n", "ttl": None, **options}
    rest["prompt"] = checked_prompt(fn, binder, rest.get("prompt"), [name for name in ignore if not ignore[name]])
    fixed = fixed_forms(binder.defaults, identity.reader)
    return Keyer(binder=binder, identity=identity, reader=identity.reader, ignore=ignore, fixed=fixed, **rest)


def outcome(reader: Keyer, *args: Any, **kwargs: Any) -> Request | Bypass | Failure:
    """Return what one call asks for."""
    options, own = reader.split_options(kwargs)
    return reader.request(args, own, options)


def requested(reader: Keyer, *args: Any, **kwargs: Any) -> Request:
    """Return the request of one cacheable call."""
    found = outcome(reader, *args, **kwargs)
    assert isinstance(found, Request), found
    return found


def asked(reader: Keyer, *args: Any, **kwargs: Any) -> Query:
    """Return the query of one cacheable call."""
    return requested(reader, *args, **kwargs).query("model")


def refused(reader: Keyer, *args: Any, **kwargs: Any) -> Bypass:
    """Return why one call cannot be cached."""
    found = outcome(reader, *args, **kwargs)
    assert isinstance(found, Bypass), found
    return found


def asking(question: str, value: object = None) -> tuple[str, object]:
    """Stand for the function whose arguments are read."""
    return question, value


_IDENTITY = FunctionIdentity(asking, {}, TOKENS)


def argument_reader() -> Reader:
    """Return a reader of the arguments of one call of a function of this program."""
    return _IDENTITY.reader()


def form(value: object) -> bytes:
    """Return the form of an argument of such a call."""
    return argument_reader().form(value)


def keys(value: Any) -> list[str]:
    """Return what is made of a value: its form, that of what a prompt leaves of it, and the key of a call with it."""
    taken = take_prompt(value)
    rest = "" if taken is None else form(taken.rest).hex()
    return [form(value).hex(), rest, asked(keyer(asking), "q", value).key]


@dataclass
class Point:
    """A dataclass."""

    x: object
    y: object = 0


@dataclass(frozen=True, slots=True)
class Slotted:
    """A dataclass without a ``__dict__``."""

    x: object
    y: object = 0


class Plain:
    """A plain object that holds what it is given."""

    def __init__(self, **held: object) -> None:
        self.__dict__.update(held)


class Tagged(str):
    """A text that takes attributes."""


class Bag(list[object]):
    """A list that takes attributes."""


class Record(dict[object, object]):
    """A mapping with a slot."""

    __slots__ = ("note",)
    note: object


def with_attributes(value: Any, **attributes: object) -> Any:
    """Return `value` after setting attributes on it, whatever it thinks of that."""
    for name, attribute in attributes.items():
        object.__setattr__(value, name, attribute)
    return value


atoms = st.sampled_from(
    [None, True, False, 0, 1, -1, "", "0", "1", "a", b"", b"1", 0.0, 1.0, -0.0, "N", "i1", "[", 1j, ...]
) | st.text(max_size=3)
hashables = st.recursive(atoms, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=2), max_leaves=3)


def _composed_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists, mappings = st.lists(inner, max_size=3), st.dictionaries(hashables, inner, max_size=3)
    named = st.dictionaries(st.sampled_from(["a", "b", "x"]), inner, max_size=2)
    return st.one_of(
        lists,
        lists.map(tuple),
        st.sets(hashables, max_size=3),
        st.frozensets(hashables, max_size=3),
        mappings,
        mappings.map(OrderedDict),
        mappings.map(lambda held: defaultdict(list, held)),
        st.builds(deque, lists, st.none() | st.just(3)),
        st.builds(Point, inner, inner),
        st.builds(Slotted, inner, inner),
        named.map(lambda held: Plain(**held)),
        st.builds(lambda text, held: with_attributes(Tagged(text), **held), st.sampled_from(["", "1", "a"]), named),
        st.builds(lambda items, held: with_attributes(Bag(items), **held), lists, named),
        st.builds(lambda held, note: with_attributes(Record(held), note=note), mappings, inner),
    )


values = st.recursive(atoms, _composed_of, max_leaves=8)
"""Values of every shape: scalars, containers, objects, subclasses of built-ins that hold more than that."""


def reference(value: Any) -> str:
    """Return a text that differs between such values exactly if they differ in type, content or attributes."""
    inside: list[str]
    match value:
        case OrderedDict():
            inside = [f"{reference(key)}={reference(item)}" for key, item in value.items()]
        case dict():
            inside = sorted(f"{reference(key)}={reference(item)}" for key, item in value.items())
        case set() | frozenset():
            inside = sorted(map(reference, value))
        case list() | tuple():
            inside = list(map(reference, value))
        case deque():
            inside = [*map(reference, value), str(value.maxlen)]
        case str():
            inside = [repr(str(value))]
        case Point() | Slotted():
            inside = [reference(value.x), reference(value.y)]
        case _:
            inside = [] if isinstance(value, Plain) else [repr(value)]
    held = vars(value) if isinstance(value, Plain | Tagged | Bag) else {}
    held = {"note": value.note} if isinstance(value, Record) else held
    named = sorted(f"{name}={reference(item)}" for name, item in held.items())
    return f"{type(value).__name__}{inside!r}{named!r}"
