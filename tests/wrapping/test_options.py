"""Each option is one row, which signatures, docstrings, checks and the README follow."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

import recallm.typing
from recallm import DEFAULT_GUARDS, CacheConfig, Guard, InMemoryStorage, SemanticCache, semantic_cache
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.testing import FakeEmbedder
from recallm.wrapping import options
from recallm.wrapping.options import NOT_GIVEN, DecoratorOptions, WrapOptions, chosen, rows


@pytest.mark.parametrize(("function", "kind"), [(semantic_cache, DecoratorOptions), (SemanticCache.wrap, WrapOptions)])
def test_the_signature_shows_every_option_with_its_default(function: Callable[..., Any], kind: type) -> None:
    """Editors, `help` and `inspect.signature` see keyword options, not ``**options``."""
    parameters = inspect.signature(function).parameters
    named = {name: each.default for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}
    assert named == {name: option.default for name, option in rows(kind).items()}
    assert not [each for each in parameters.values() if each.kind is each.VAR_KEYWORD]


@pytest.mark.parametrize(("function", "kind"), [(semantic_cache, DecoratorOptions), (SemanticCache.wrap, WrapOptions)])
def test_the_signature_shows_the_type_of_every_option(function: Callable[..., Any], kind: type) -> None:
    """`help` shows what an option may be, by the names of `recallm.typing`, which mean the option's type."""
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(kind)
    assert parameters["context"].annotation == "Context | None"
    names = {**vars(options), **vars(recallm.typing)}
    assert {name: eval(parameters[name].annotation, names) for name in hints} == hints  # noqa: S307  # our own source


@pytest.mark.parametrize(("function", "kind"), [(semantic_cache, DecoratorOptions), (SemanticCache.wrap, WrapOptions)])
def test_the_docstring_has_a_line_for_every_option(function: Callable[..., Any], kind: type) -> None:
    """The Args section lists the options in the order of their rows."""
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(function) or "", re.MULTILINE)
    assert [name for name in documented if name in rows(kind)] == list(rows(kind))


def test_an_option_that_does_not_exist_is_refused_with_the_one_that_was_meant() -> None:
    """A misspelt option raises at decoration, as a `TypeError`, and names the nearest one."""
    with pytest.raises(InvalidTypeError, match=r"semantic_cache\(\) got .* 'treshold'; use 'threshold'"):
        semantic_cache(treshold=0.9)  # type: ignore[call-overload]  # that it is misspelt is the point
    cache = SemanticCache(InMemoryStorage(), embedder=FakeEmbedder())
    with pytest.raises(TypeError, match=r"wrap\(\) got .* argument 'xyz'; use 'audit', 'coalesce', 'context'"):
        cache.wrap(len, xyz=1)  # type: ignore[call-arg]  # likewise


def test_what_is_not_given_has_its_default_and_what_is_given_is_checked() -> None:
    """Choosing options fills in defaults, which need no check, and puts given values in the form used later."""
    assert chosen(DecoratorOptions, {}, "f")["guards"] is DEFAULT_GUARDS
    assert chosen(WrapOptions, {}, "f")["ttl"] is NOT_GIVEN
    assert chosen(WrapOptions, {"ttl": 5}, "f")["ttl"] == 5.0
    with pytest.raises(InvalidTypeError, match="coalesce='yes' is a str; use True or False"):
        chosen(WrapOptions, {"coalesce": "yes"}, "f")


@pytest.mark.parametrize("guards", [(), DEFAULT_GUARDS[1:], (lambda _prompt, _cached: True,)])
def test_the_guarded_threshold_needs_the_default_guards(guards: tuple[Guard, ...]) -> None:
    """A threshold that counts on the default guards is refused without one of them, with the line to write."""
    with pytest.raises(InvalidValueError, match=r"guards=\(\*recallm.DEFAULT_GUARDS, ...\) or threshold='balanced'"):
        semantic_cache(context={}, threshold="guarded", guards=guards)(len)
    SemanticCache(config=CacheConfig(threshold="balanced"), guards=guards)


def test_guards_of_ones_own_join_the_default_ones_at_the_guarded_threshold() -> None:
    """The guarded threshold allows more guards than the default ones."""
    cache = SemanticCache(config=CacheConfig(threshold="guarded"), guards=(str.__eq__, *DEFAULT_GUARDS))
    assert cache.config.resolved_threshold() == 0.88
