"""No two functions that may answer differently share an identity, and the same function keeps its own."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from operator import itemgetter
from pathlib import Path
from types import FunctionType, MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import wrapt
from support.programs import Function, defined, digest, identity, read, run_python

from recallm.keying.identity import FunctionIdentity
from recallm.keying.lives import MAX_LIVES
from recallm.keying.reader import UnreadableError
from recallm.keying.tokens import Tokens

PIRATE, LAWYER = "You are a pirate. ", "You are a lawyer. "


@dataclass
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


class Retrying:
    """A decorator with options, as those of tenacity, that leaves a plain function behind."""

    def __init__(self, system: str) -> None:
        self.system = system

    def __call__(self, fn: Function) -> Function:
        """Decorate a function."""

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return self.system + fn(*args, **kwargs)

        wrapped.retry = self  # type: ignore[attr-defined]  # as tenacity does
        return wrapped


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


def with_class_attribute(text: str) -> Function:
    """Return a class method that reads its class."""

    class Service:
        system = text

        @classmethod
        def ask(cls, question: Any) -> Any:
            return cls.system + question

    return Service.ask


def mutually_recursive(*, through_itself: bool) -> Function:
    """Return a function whose helper calls either itself or the function."""

    def helper(question: Any) -> Any:
        return following(question)

    def ask(question: Any) -> Any:
        return helper(question)

    following = helper if through_itself else ask
    return ask


MAKERS: dict[str, Callable[[str], Function]] = {
    "closure": closing_over,
    "nested containers": lambda system: closing_over([{"system": (system,)}]),
    "closure of a closure": lambda system: closing_over(closing_over(system)),
    "partial in a closure": lambda system: closing_over(partial(shout, system=system)),
    "callable object in a closure": lambda system: closing_over(Bot(system)),
    "bound method in a closure": lambda system: closing_over(Bot(system).ask),
    "class wrapper in a closure": lambda system: closing_over(WithSystem(shout, system)),
    "namespace in a closure": lambda system: closing_over(SimpleNamespace(system=system)),
    "read-only mapping in a closure": lambda system: closing_over(MappingProxyType({"system": system})),
    "lambda": lambda system: lambda question: system + question,
    "partial": lambda system: partial(shout, system=system),
    "partial of a closure": lambda system: partial(closing_over(system)),
    "callable object": Bot,
    "bound method": lambda system: Bot(system).ask,
    "bound __call__": lambda system: Bot.__call__.__get__(Bot(system)),
    "class wrapper": lambda system: WithSystem(shout, system),
    "decorator with options": lambda system: Retrying(system)(shout),
    "default of a helper": with_inner_default,
    "keyword default of a helper": lambda system: closing_over(lambda question, *, system=system: system + question),
    "functools.wraps": with_wraps,
    "wrapt": with_wrapt,
    "wrapt in a closure": lambda system: closing_over(with_wrapt(system)),
    "class": with_local_class,
    "class method": with_class_attribute,
    "lru_cache": lambda system: functools.lru_cache(closing_over(system)),
    "static method": lambda system: staticmethod(closing_over(system)),
    "itemgetter": itemgetter,
    "method of a text": lambda system: system.join,
    "global": lambda system: defined("def f(q): return SYSTEM + q", SYSTEM=system),
    "global of a helper": lambda system: defined("def h(): return SYSTEM\ndef f(q): return h() + q", SYSTEM=system),
    "default": lambda system: defined(f"def f(q, system={system!r}): return system + q"),
    "keyword default": lambda system: defined(f"def f(q, *, system={system!r}): return system + q"),
    "attribute of the function": lambda system: defined(f"def f(q): return f.system + q\nf.system = {system!r}"),
    "constant": lambda system: defined(f"def f(q): return {system!r} + q"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_functions_over_different_texts_differ(make: Callable[[str], Function]) -> None:
    """Whatever holds the text that decides the answer, another text makes another function."""
    assert digest(make(PIRATE)) != digest(make(LAWYER))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_same_function_made_again_is_the_same(make: Callable[[str], Function]) -> None:
    """A function that is made again of equal parts has the same identity for everybody."""
    assert identity(make(PIRATE)) == identity(make(PIRATE))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_identity_that_is_read_again_stays(make: Callable[[str], Function]) -> None:
    """As long as nothing changes, the very same identity is returned, without another reading."""
    current = read(make(PIRATE))
    assert current() is current()


def test_equal_code_under_another_name_or_module_differs() -> None:
    """A function's name and module are part of its identity."""
    moved = FunctionType(shout.__code__, {"__name__": "elsewhere"}, "shout", shout.__defaults__)
    assert len({digest(shout), digest(whisper), digest(moved)}) == 3


TWINS: dict[str, tuple[Function, Function]] = {
    "partial, positional or named": (partial(loose, "system=i1"), partial(loose, ssystem=1)),
    "partial, order": (partial(shout, "a", "b"), partial(shout, "b", "a")),
    "partial, place": (partial(shout, "a"), partial(shout, system="a")),
    "partial or not": (partial(shout), shout),
    "partial, type": (partial(shout, 1), partial(shout, True)),
    "1 and True": (closing_over(1), closing_over(True)),
    "1 and '1'": (closing_over(1), closing_over("1")),
    "None and ...": (closing_over(None), closing_over(...)),
    "bytes and str": (closing_over(b"ignored"), closing_over("ignored")),
    "whom a helper calls": (mutually_recursive(through_itself=True), mutually_recursive(through_itself=False)),
    "built-in functions": (len, max),
    "methods of a text": ("a".join, "a".split),
    "method and object": (Bot("a").ask, Bot("a")),
}


@pytest.mark.parametrize(("one", "other"), TWINS.values(), ids=TWINS)
def test_near_twins_differ(one: Function, other: Function) -> None:
    """Functions differ if their parts are bound in another way or to something else."""
    assert digest(one) != digest(other)


def test_the_texts_of_many_holders_make_as_many_functions() -> None:
    """No two ways of holding a text are taken for one another."""
    digests = [digest(make(text)) for make in MAKERS.values() for text in (PIRATE, LAWYER)]
    assert all(one != other for one, other in combinations(digests, 2))


def test_a_mock_has_a_token() -> None:
    """A mock, of which nothing tells what it does, is a function of its own while it lives."""
    tokens, one, other = Tokens(partial(os.urandom, 16)), Mock(spec=shout), Mock(spec=shout)
    known = FunctionIdentity(one, {}, tokens)()
    assert FunctionIdentity(one, {}, tokens)() == known
    assert FunctionIdentity(other, {}, tokens)() != known
    assert FunctionIdentity(one, {}, Tokens(partial(os.urandom, 16)))() != known


class Foreign:
    """A proxy that passes for a function, of a library that nobody knows."""

    @property  # type: ignore[misc]  # it lies, as proxies do
    def __class__(self) -> type:
        """Return what it passes for."""
        return FunctionType

    def __call__(self, question: Any) -> Any:
        """Answer."""
        return question


def test_a_foreign_proxy_has_a_token() -> None:
    """An object that passes for a function without being one shares its answers with nobody."""
    tokens, proxy = Tokens(partial(os.urandom, 16)), Foreign()
    known = FunctionIdentity(proxy, {}, tokens)()
    assert FunctionIdentity(proxy, {}, tokens)() == known
    assert FunctionIdentity(Foreign(), {}, tokens)() != known


def test_a_version_stands_for_everything() -> None:
    """With a version neither name, code nor variables count, and another version is another function."""
    assert identity(closing_over("a"), version="1") == identity(shout, version="1")
    assert digest(shout, version="1") != digest(shout, version="2")
    assert digest(shout, version="1") != digest(shout)


def test_ignored_variables_do_not_count() -> None:
    """Neither the value nor the class of an ignored variable counts."""
    one, other = closing_over(threading.Lock()), closing_over("a")
    assert digest(one, "value") == digest(other, "value") != digest(one)
    assert digest(Bot("a").ask, "self") == digest(Bot("b").ask, "self")
    assert digest(WithSystem(shout, "a"), "self") == digest(WithSystem(shout, "b"), "self")
    assert digest(Bot("a").ask, "self.system") == digest(Bot("b").ask, "self.system")


def test_recursion_and_unset_variables_end() -> None:
    """A function that calls itself, or closes over a variable that is not set yet, has an identity."""

    def again(question: Any) -> Any:
        return again(question)

    def early(question: Any) -> Any:
        return late(question)

    current = read(early)
    before = current().digest
    late = shout
    assert digest(again) == digest(again)
    assert current().digest != before


def test_a_function_may_close_over_itself_as_decorated() -> None:
    """A function that closes over its own decorated self is the same whenever it is made."""

    def make() -> Function:
        def plain(question: str) -> Any:
            return ask

        ask = wrapt.FunctionWrapper(plain, lambda wrapped, instance, args, kwargs: wrapped(*args))
        return plain

    assert digest(make()) == digest(make())


def test_what_a_function_depends_on_is_named() -> None:
    """An identity tells by name what changed."""
    one, other = (identity(defined("def f(q): return A, B, q", A=1, B=value)) for value in (1, 2))
    assert {name for name in one.named if one.named[name] != other.named[name]} == {"B"}


def test_a_class_among_the_arguments_is_read_again_when_it_changes() -> None:
    """A class in an argument counts as it is now, and is read again only after a change."""
    source = "class A: x = 1\ndef f(a): return a.x"
    fn = defined(source)
    reader, cls = read(fn), fn.__globals__["A"]
    before = reader.reader().form(cls)
    assert reader.reader().form(cls) == before == read(defined(source)).reader().form(defined(source).__globals__["A"])
    cls.x = 2
    assert reader.reader().form(cls) != before


def test_many_classes_among_the_arguments_are_read_rightly() -> None:
    """Of more classes than are remembered, each still counts by what it is."""
    reader = read(shout)
    classes = [type("Local", (), {"__module__": shout.__module__, "x": at}) for at in range(MAX_LIVES + 2)]
    forms = [reader.reader().form(cls) for cls in classes]
    assert len(set(forms)) == len(classes)
    assert [reader.reader().form(cls) for cls in classes] == forms


def test_functions_among_the_arguments_count_with_their_docstrings() -> None:
    """A tool in an argument counts by its code, docstring and bound arguments; what has none is refused."""
    reader = read(shout).reader()
    one, other = (defined(f"def f(q):\n '''{text}'''\n return q") for text in ("Look it up.", "Guess."))
    assert reader.form(one) != reader.form(other)
    assert reader.form(partial(shout, "a")) != reader.form(partial(shout, "b"))
    assert reader.form(Bot("a").ask) != reader.form(Bot("b").ask)
    with pytest.raises(UnreadableError, match="built-in object"):
        reader.form([].append)


def test_threads_read_the_same() -> None:
    """Threads that ask at once, while another sets a variable back and forth, never see a third identity."""
    fn = defined("def h(): return A\ndef f(q): return h(), q", A=1)
    current, known = read(fn), {digest(fn)}
    fn.__globals__["A"] = 2
    known.add(digest(fn))

    def turn() -> None:
        for at in range(300):
            fn.__globals__["A"] = at % 2 + 1

    with ThreadPoolExecutor(4) as pool:
        turning = pool.submit(turn)
        seen = {each.digest for each in pool.map(lambda _: current(), range(300))}
        turning.result()
    assert seen <= known
    assert current().digest == digest(fn)


SCRIPT = """
import sys
from support.programs import digest
SYSTEM = "a"
class Config:
    model = "small"
class Answer:
    def __init__(self, config): self.config = config
    def ask(self, question): return SYSTEM, self.config.model, question
def ask(question): return Answer(Config()).ask(question)
if __name__ in ("__main__", sys.argv[1]):
    print(digest(ask).hex(), digest(Answer(Config()).ask).hex())
"""

SPAWNING = """
    if __name__ == "__mp_main__":
        sys.exit()
    import multiprocessing
    multiprocessing.get_context("spawn").Process(target=int).start()
"""


def test_a_script_is_the_module_that_its_file_would_be(tmp_path: Path) -> None:
    """Run as a script, by ``-m``, imported, or imported again by a spawned process, a function is the same."""
    (tmp_path / "app.py").write_text(SCRIPT)
    as_script = run_python("app.py", "__main__", folder=tmp_path)
    assert as_script
    assert run_python("-m", "app", "__main__", folder=tmp_path) == as_script
    assert run_python("-c", "import app", "app", folder=tmp_path) == as_script
    (tmp_path / "app.py").write_text(SCRIPT.replace('("__main__",', '("__main__", "__mp_main__",') + SPAWNING)
    assert run_python("app.py", "-", folder=tmp_path) == as_script * 2
