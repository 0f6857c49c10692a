"""Binding: the arguments by name, as the function itself would receive them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.keying.signature import Binder


class Agent:
    """Has a method."""

    def ask(self, question: Any, *, depth: Any = 1) -> Any:
        """Take one text."""


def plain(a: Any, b: Any = 2, *, c: Any = 3, d: Any) -> Any:
    """Take these arguments."""


def open_ended(a: Any, /, b: Any = 2, *rest: Any, c: Any = 3, **extra: Any) -> Any:
    """Take these arguments."""


def positional_only(a: Any, b: Any, /, **extra: Any) -> Any:
    """Take these arguments."""


FUNCTIONS: list[Callable[..., Any]] = [
    plain,
    open_ended,
    positional_only,
    lambda: None,
    lambda *args: None,
    lambda **options: None,
    partial(plain, 1),
    partial(plain, d=4),
    partial(open_ended, "x", z=1),
    Agent().ask,
    Agent.ask,
]

arguments = st.tuples(
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d", "rest", "extra", "question", "depth", "z"]), st.integers(0, 9)
    ),
)


def expected(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """Return what `inspect` binds: the named arguments and those of ``**kwargs``, or None for a refusal."""
    signature = inspect.signature(fn)
    try:
        # Asked first: Python 3.13.0's `inspect` binds calls that lack a positional-only argument.
        fn(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    open_names = [p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    named = {name: value for name, value in bound.arguments.items() if name not in open_names}
    return named, {name: value for at in open_names for name, value in bound.arguments[at].items()}


@pytest.mark.parametrize("fn", FUNCTIONS, ids=str)
@given(call=arguments)
def test_binds_as_the_language_does(fn: Callable[..., Any], call: tuple[tuple[int, ...], dict[str, int]]) -> None:
    """Names, defaults and refusals are those of the language, for any call."""
    args, kwargs = call
    assert Binder(fn).bind(args, kwargs) == expected(fn, args, kwargs)


def test_a_function_without_a_signature_takes_anything() -> None:
    """What cannot be inspected is bound as ``(*args, **kwargs)``."""
    binder = Binder(dict)
    assert binder.takes_any_keyword
    assert binder.bind((1, 2), {"a": 3}) == ({"args": (1, 2)}, {"a": 3})


def test_keywords_that_spell_a_positional_only_name_stay_apart() -> None:
    """``f(1, 2, a=3)`` of ``f(a, b, /, **extra)`` has both an argument and an extra named ``a``."""
    assert Binder(positional_only).bind((1, 2), {"a": 3}) == ({"a": 1, "b": 2}, {"a": 3})


@pytest.mark.parametrize(("fn", "names"), [(plain, {"a", "b", "c", "d"}), (open_ended, {"a", "b", "c"})])
def test_names_are_those_of_single_arguments(fn: Callable[..., Any], names: set[str]) -> None:
    """``*rest`` and ``**extra`` are parameters, but no names that a call can give."""
    assert Binder(fn).names == names
