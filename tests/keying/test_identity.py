"""No two functions that may answer differently share an identity, and the same function keeps its own."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from operator import itemgetter
from types import FunctionType
from typing import Any
from unittest.mock import Mock

import pytest
import wrapt

from recallm.keying.identity import MAX_HELD, Identities, Identity

Function = Callable[..., Any]


def identity(fn: Function, ignore: tuple[str, ...] = ()) -> Identity:
    """Return the identity as a fresh process would see it."""
    return Identities(partial(os.urandom, 16)).of(fn, ignore)


def digest(fn: Function) -> bytes:
    """Return the digest as a fresh process would see it."""
    return identity(fn).digest


def defined(source: str) -> Function:
    """Return the function ``f`` that a source defines, in a module always of the same name."""
    namespace: dict[str, Any] = {"__name__": "somewhere"}
    exec(source, namespace)  # noqa: S102  # the sources are the table below
    fn: Function = namespace["f"]
    return fn


class Client:
    """A live client: no canonical form, and equal to every other."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Client)

    def __hash__(self) -> int:
        return 1


@dataclass(frozen=True)
class Bot:
    """A callable object whose state is known."""

    system: str

    def __call__(self, question: Any) -> Any:
        """Answer."""
        return self.system + question

    def ask(self, question: Any) -> Any:
        """Answer as a method."""
        return self.system + question


class WithSystem:
    """A decorator that is a class, and passes for the function by `functools.update_wrapper`."""

    def __init__(self, fn: Function, system: str) -> None:
        functools.update_wrapper(self, fn)
        self.system = system

    def __call__(self, question: Any) -> Any:
        """Answer."""
        return self.system + question


def shout(question: Any, system: Any = "a") -> Any:
    """Answer."""
    return system + question


def whisper(question: Any, system: Any = "a") -> Any:
    """Answer."""
    return system + question


def loose(*args: Any, **options: Any) -> Any:
    """Answer."""
    return args, options


def closing_over(value: Any) -> Function:
    """Return a function that depends on `value`."""

    def ask(question: Any) -> Any:
        return (value, question)

    return ask


def with_inner_default(system: str) -> Function:
    """Return a function that calls one with a default."""

    def build(question: Any, system: Any = system) -> Any:
        return system + question

    def ask(question: Any) -> Any:
        return build(question)

    return ask


def with_inner_keyword_default(system: str) -> Function:
    """Return a function that calls one with a keyword default."""
    return closing_over(lambda question, *, system=system: system + question)


def with_wraps(system: str) -> Function:
    """Return a function decorated as most decorators do."""

    @functools.wraps(shout)
    def ask(question: Any) -> Any:
        return system + question

    return ask


def with_wrapt(system: str) -> Function:
    """Return a function decorated by wrapt, which passes for the function in every way."""

    @wrapt.decorator
    def add(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return system + wrapped(*args, **kwargs)

    fn: Function = add(shout)
    return fn


def with_local_class(system: str) -> Function:
    """Return a class that is called like a function."""

    class Answer:
        def __init__(self, question: Any) -> None:
            self.text = system + question

    return Answer


def mutually_recursive(*, through_itself: bool) -> Function:
    """Return a function whose helper calls either itself or the function."""

    def helper(question: Any) -> Any:
        return following(question)

    def ask(question: Any) -> Any:
        return helper(question)

    following = helper if through_itself else ask
    return ask


MAKERS: list[Callable[[str], Function]] = [
    closing_over,
    lambda system: closing_over([{"system": (system,)}]),
    lambda system: closing_over(closing_over(system)),
    lambda system: closing_over(functools.partial(shout, system=system)),
    lambda system: closing_over(Bot(system)),
    lambda system: closing_over(Bot(system).ask),
    lambda system: closing_over(WithSystem(shout, system)),
    lambda system: lambda question: system + question,
    lambda system: functools.partial(shout, system=system),
    lambda system: functools.partial(closing_over(system)),
    Bot,
    lambda system: Bot(system).ask,
    lambda system: Bot.__call__.__get__(Bot(system)),
    lambda system: WithSystem(shout, system),
    with_inner_default,
    with_inner_keyword_default,
    with_wraps,
    with_wrapt,
    lambda system: closing_over(with_wrapt(system)),
    with_local_class,
    lambda system: functools.lru_cache(closing_over(system)),
    lambda system: staticmethod(closing_over(system)),
    itemgetter,
    lambda system: system.join,
]


@pytest.mark.parametrize("make", MAKERS)
def test_functions_over_different_texts_differ(make: Callable[[str], Function]) -> None:
    """Whatever holds the text that decides the answer, another text makes another function."""
    identities = Identities(partial(os.urandom, 16))
    one, other = make("You are a pirate. "), make("You are a lawyer. ")
    assert identities.of(one).digest != identities.of(other).digest


KNOWABLE = [closing_over, with_inner_default, with_wraps, Bot, MAKERS[5], MAKERS[8], MAKERS[11], MAKERS[20]]


@pytest.mark.parametrize("make", KNOWABLE)
def test_the_same_function_made_again_is_the_same(make: Callable[[str], Function]) -> None:
    """A function made twice of equal parts has one identity in every process."""
    assert identity(make("x")) == identity(make("x"))
    assert identity(make("x")).process_local == ()


SOURCES = [
    "def f(a, b): return a - b",
    "def f(b, a): return b - a",
    "def f(a, b): return b - a",
    "def f(a, b): return a + b",
    "def f(a, b): return a - b - 1",
    "def f(a, b): return a - b - 1.0",
    "def f(a, b): return a - b - True",
    "def f(a, b): return a.x - b",
    "def f(a, b): return a.y - b",
    "def f(a, b): return (lambda: a - b)()",
    "def f(a, b): return (lambda: b - a)()",
    "def f(a, b):\n try:\n  g(a)\n  h(b)\n except E:\n  k()",
    "def f(a, b):\n try:\n  g(a)\n except E:\n  k()\n else:\n  h(b)",
    "async def f(a, b): return a - b",
    "def f(a, b): yield a - b",
    "def g(a, b): return a - b\nf = g",
    "f = lambda a, b: a - b",
    "class C:\n def f(a, b): return a - b\nf = C.f",
]


def test_other_code_under_the_same_name_differs() -> None:
    """Functions of one name differ by operators, constants, names, argument order, exception ranges and nesting."""
    for one, other in combinations(SOURCES, 2):
        assert digest(defined(one)) != digest(defined(other)), (one, other)


def test_the_same_source_is_the_same_function() -> None:
    """Compiling a source again, as every process does, changes nothing."""
    for source in SOURCES:
        assert digest(defined(source)) == digest(defined(source)), source


def test_equal_code_under_another_name_or_module_differs() -> None:
    """A function's name and module are part of its identity."""
    moved = FunctionType(shout.__code__, {"__name__": "elsewhere"}, "shout", shout.__defaults__)
    assert len({digest(shout), digest(whisper), digest(moved)}) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (functools.partial(loose, "system=i1"), functools.partial(loose, ssystem=1)),
        (functools.partial(shout, "a", "b"), functools.partial(shout, "b", "a")),
        (functools.partial(shout, "a"), functools.partial(shout, system="a")),
        (functools.partial(shout), shout),
        (functools.partial(shout, 1), functools.partial(shout, True)),
        (closing_over(1), closing_over(True)),
        (closing_over(1), closing_over("1")),
        (closing_over(None), closing_over(...)),
        (closing_over(b"ignored"), closing_over("ignored")),
        (mutually_recursive(through_itself=True), mutually_recursive(through_itself=False)),
        (len, max),
        ("a".join, "a".split),
    ],
)
def test_near_twins_differ(one: Function, other: Function) -> None:
    """Functions differ if their parts are bound in another way or to something else."""
    assert digest(one) != digest(other)


def test_what_cannot_be_read_has_a_token_of_its_own() -> None:
    """A closed-over client gets a random token, its own while it lives, whatever it claims to equal."""
    identities, client = Identities(partial(os.urandom, 16)), Client()
    known = identities.of(closing_over(client))
    assert known.process_local == ("value",)
    assert identities.of(closing_over(client)) == known
    assert identities.of(closing_over(Client())).digest != known.digest
    assert Identities(partial(os.urandom, 16)).of(closing_over(client)).digest != known.digest


def test_a_token_is_not_inherited_by_a_later_object() -> None:
    """An object that comes to lie where a dead one lay gets another token."""
    identities = Identities(partial(os.urandom, 16))
    digests, addresses = set(), set()
    for _ in range(50):
        client = Client()
        addresses.add(id(client))
        digests.add(identities.of(closing_over(client)).digest)
        del client
    assert len(addresses) < 50
    assert len(digests) == 50


def test_what_holds_no_weak_reference_gets_a_token_too() -> None:
    """A slotted object that takes no weak reference gets a token that no other object shares."""

    class Closed:
        __slots__ = ()

    identities = Identities(partial(os.urandom, 16))
    one, other = closing_over(Closed()), closing_over(Closed())
    assert identities.of(one).process_local == ("value",)
    assert identities.of(one) == identities.of(one)
    assert identities.of(one).digest != identities.of(other).digest


def test_the_latest_of_many_objects_without_weak_references_keep_their_tokens() -> None:
    """Such objects are kept alive for their tokens' sake, but no more than `MAX_HELD` of them."""

    class Closed:
        __slots__ = ()

    identities = Identities(partial(os.urandom, 16))
    objects = [Closed() for _ in range(MAX_HELD + 1)]
    before = [identities.of(closing_over(each)) for each in objects]
    assert identities.of(closing_over(objects[-1])) == before[-1]
    assert identities.of(closing_over(objects[0])) != before[0]


def test_a_mock_has_an_identity() -> None:
    """A mock that passes for a function is process-local, and differs from other mocks."""
    identities = Identities(partial(os.urandom, 16))
    one, other = Mock(spec=shout), Mock(spec=shout)
    assert identities.of(one).process_local == ("self",)
    assert identities.of(one) == identities.of(one)
    assert identities.of(one).digest != identities.of(other).digest


def test_ignored_variables_do_not_count() -> None:
    """An ignored closed-over variable makes functions neither different nor process-local."""
    one, other = closing_over(threading.Lock()), closing_over(Client())
    assert identity(one, ("value",)) == identity(other, ("value",))
    assert identity(one, ("value",)).process_local == ()
    assert identity(one, ("value",)).digest != identity(one).digest
    assert identity(Bot("a").ask, ("self",)) == identity(Bot("b").ask, ("self",))
    assert identity(WithSystem(shout, "a"), ("self",)) == identity(WithSystem(shout, "b"), ("self",))


def test_the_first_look_counts() -> None:
    """A counter that a function keeps for itself does not make it another function at each call."""

    def make() -> Function:
        count = 0

        def ask(question: Any) -> Any:
            nonlocal count
            count += 1
            return question * count

        return ask

    identities, ask = Identities(partial(os.urandom, 16)), make()
    known = identities.of(ask)
    ask("x")
    assert identities.of(ask) is known


def test_recursion_and_unset_variables_end() -> None:
    """A function that calls itself, or closes over a variable that is not set yet, has an identity."""

    def again(question: Any) -> Any:
        return again(question)

    def early(question: Any) -> Any:
        return late(question)

    assert digest(again) == digest(again)
    assert digest(early) == digest(early)
    before = digest(early)
    late = shout
    assert digest(early) != before


def test_a_variable_that_is_set_after_the_decoration_counts() -> None:
    """A variable counts as the first call finds it and as others set it later; own counters and lists do not."""
    identities = Identities(partial(os.urandom, 16))

    def make(tenant: str) -> tuple[Function, Callable[[str], None]]:
        calls, log, name = 0, [], tenant

        def ask(question: str) -> str:
            nonlocal calls
            calls += 1
            log.append(question)
            return f"{name} {settings}: {question}"

        def rename(other: str) -> None:
            nonlocal name
            name = other

        readers.append(identities.reader(ask))
        settings = {"tenant": tenant}
        return ask, rename

    readers: list[Callable[[], Identity]] = []
    ask, rename = make("ada")
    make("bob")
    ada, bob = (read().digest for read in readers)
    assert ada != bob
    ask("q")
    assert readers[0]().digest == ada
    rename("bob")
    assert readers[0]().digest != ada


def test_a_variable_of_a_function_that_is_closed_over_counts() -> None:
    """A variable that a closed-over function closes over counts, unless that function is ignored."""
    identities, model = Identities(partial(os.urandom, 16)), "small"

    def helper() -> str:
        return model

    def ask(question: str) -> str:
        return helper() + question

    read, ignoring = identities.reader(ask), identities.reader(ask, ("helper",))
    before = read().digest, ignoring().digest
    model = "large"
    assert read().digest != before[0]
    assert ignoring().digest == before[1]


def test_a_function_may_close_over_itself_as_decorated() -> None:
    """A function that closes over its own decorated self shares its answers with other processes."""

    def make() -> Function:
        def plain(question: str) -> Any:
            return ask

        ask = wrapt.FunctionWrapper(plain, lambda wrapped, instance, args, kwargs: wrapped(*args))
        return plain

    function = make()
    assert Identities(partial(os.urandom, 16)).reader(function)().process_local == ()
