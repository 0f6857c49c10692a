"""The options of a cached function: a type each, and a row with its meaning, its default and its check.

`semantic_cache` and `SemanticCache.wrap` take them, and their signatures and docstrings are made from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import Parameter
from textwrap import fill, indent
from types import MappingProxyType
from typing import Any, TypedDict, TypeVar

from recallm import checks
from recallm.config import CacheConfig
from recallm.errors import InvalidTypeError
from recallm.guards.default import DEFAULT_GUARDS
from recallm.keying.completeness import is_complete
from recallm.storage.base import StorageBackend
from recallm.typing import Context, EmbedderLike, Guard, Mode, Namespace, Prompt, Seconds, StoreIf, Threshold, Verifier

F = TypeVar("F", bound=Callable[..., Any])


class _NotGiven:
    """Stands for an option that was not given, if its default depends on others."""

    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN: Any = _NotGiven()


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        meaning: what the option does, as its line in the docstrings.
        default: its value if it is not given.
        check: returns a given value, in the form that is used from then on, or raises.
    """

    meaning: str
    default: Any = None
    check: Callable[[Any], Any] = lambda value: value


class WrapOptions(TypedDict, total=False):
    """The options of `SemanticCache.wrap`."""

    mode: Mode
    context: Context | None
    prompt: Prompt | None
    namespace: Namespace | None
    version: str | None
    ignore: Collection[str]
    ttl: Seconds | None
    store_if: StoreIf | None
    verify: Verifier | None
    response_type: Any
    response_types: Collection[Any] | None
    coalesce: bool
    stale_if_error: Seconds | None


class DecoratorOptions(WrapOptions, total=False):
    """The options of `semantic_cache`: those of `SemanticCache.wrap`, and those of the cache that it makes."""

    threshold: Threshold
    storage: StorageBackend | str
    embedder: EmbedderLike | None
    guards: Sequence[Guard]
    config: CacheConfig | None
    name: str | None


ROWS: Mapping[str, Option] = MappingProxyType(
    {
        "mode": Option(
            '``"auto"``: as the function is, seen through wrappers that hand on its result; ``"async"``: the result is '
            'awaited, and so is what the function returns if it can be; ``"sync"``: the function must not be async.',
            "auto",
        ),
        "context": Option(
            "what an answer depends on besides the arguments' own values: a mapping, or a callable of all arguments by "
            "name that returns one; None: every call must pass ``cache_context=``.",
            check=checks.context,
        ),
        "prompt": Option(
            "name of the argument that carries the prompt, or a callable of all arguments that returns it (None: not "
            "cached); not given: ``messages``, else the only one among ``prompt``, ``question``, ``query``, ``input``, "
            "``contents``, ``text``, ``message``, ``user_input``, ``user_prompt``, ``user_message``, ``instruction``, "
            "else the only parameter. It goes by names, never by types."
        ),
        "namespace": Option(
            "what is invalidated together: a str, or a callable of all arguments; not given: the config's default, "
            "for the decorator the function's ``module.qualname`` unless the config gives one.",
            check=lambda value: None if value is None else checks.namespace(value),
        ),
        "version": Option(
            "your own word for what the function is: its code, and what the code reads, count by nothing, so that "
            "answers are kept until the word changes; not given: the function is read.",
            check=lambda value: None if value is None else checks.text(value, "version"),
        ),
        "ignore": Option(
            "names of what does not affect the answer: arguments, closed-over variables, globals, and dotted "
            "attributes of them, such as ``timeout`` or ``self.client``.",
            (),
        ),
        "ttl": Option(
            "seconds or timedelta until an answer expires; None: never; not given: the config's default.",
            NOT_GIVEN,
            lambda value: value if value is NOT_GIVEN else checks.ttl(value),
        ),
        "store_if": Option(
            "predicate of the response, not async: what it refuses is not stored, and if it is stored already, not "
            "served; None: `recallm.is_complete`, which refuses empty answers, and those that were cut off, refused, "
            "filtered, or that tell of an error.",
            is_complete,
            lambda value: is_complete if value is None else checks.predicate(value, "store_if"),
        ),
        "verify": Option(
            "asked last about a similar prompt's answer: ``(prompt, cached_prompt, response) -> bool``, sync or async, "
            "within ``verify_timeout_seconds``; an answer that it refuses is a miss.",
            check=lambda value: checks.optional_callable(value, "verify"),
        ),
        "response_type": Option(
            "type of the responses, if the return annotation does not say it.", check=checks.response_type
        ),
        "response_types": Option(
            "classes, or type expressions, that the responses may have besides what the return annotation says, and no "
            "others; None: every data class in a module that is imported.",
            check=checks.response_types,
        ),
        "coalesce": Option(
            "whether calls that want the same answer at the same time wait for one to compute it.",
            True,
            lambda value: checks.flag(value, "coalesce"),
        ),
        "stale_if_error": Option(
            "seconds or timedelta for which an answer that has expired is served if the function raises an "
            "`Exception`; None: the exception reaches the caller.",
            check=lambda value: checks.ttl(value, "stale_if_error"),
        ),
        "threshold": Option(
            '``"strict"``, ``"balanced"``, ``"loose"`` or a cosine in [0, 1]; ``"exact"``: only the very same prompt, '
            "no embedding at all (for text that is data: translate, embed, tool calls); not given: the config's.",
            NOT_GIVEN,
        ),
        "storage": Option("a storage, a registered name, or a URL such as ``redis://localhost``.", "default"),
        "embedder": Option("see `recallm.typing.EmbedderLike`; None: the default one, loaded on first use."),
        "guards": Option("asked in order whether a candidate may serve; ``()`` turns them off.", DEFAULT_GUARDS),
        "config": Option("a `CacheConfig` that supplies what is not given here."),
        "name": Option("name under which `recallm.stats(name)` reports; not given: ``module.qualname``."),
    }
)


@cache
def rows(kind: type) -> Mapping[str, Option]:
    """Return the row of each option of a kind, in order."""
    return {name: ROWS[name] for name in kind.__annotations__}


def chosen(kind: type, given: Mapping[str, Any], caller: str) -> Any:
    """Return every option of a kind: those given, checked, and the defaults of the others.

    Args:
        kind: `WrapOptions` or `DecoratorOptions`.
        given: the keyword arguments of a call.
        caller: the function that was called, for messages.

    Raises:
        InvalidTypeError: there is no such option, or an option has the wrong type.
        InvalidValueError: an option has a value that is not allowed.
    """
    known = rows(kind)
    unknown = [name for name in given if name not in known]
    if unknown:
        from difflib import get_close_matches

        near = get_close_matches(unknown[0], known, n=1) or sorted(known)
        raise InvalidTypeError(
            f"{caller}() got an unexpected keyword argument {unknown[0]!r}; use {', '.join(map(repr, near))}"
        )
    return {name: option.check(given[name]) if name in given else option.default for name, option in known.items()}


def with_options(kind: type) -> Callable[[F], F]:
    """Return a decorator that shows the options in the signature and docstring of a function with ``**options``.

    The docstring says ``{options}`` where their rows go.
    """

    def show(function: F) -> F:
        known, types = rows(kind), kind.__annotations__
        signature = inspect.signature(function)
        fixed = [each for each in signature.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        named = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=option.default, annotation=types[name].__forward_arg__)
            for name, option in known.items()
        ]
        function.__signature__ = signature.replace(parameters=[*fixed, *named])  # type: ignore[attr-defined]
        before, _, after = (function.__doc__ or "").partition("{options}")
        margin = before.rpartition("\n")[2]
        lines = [fill(f"{name}: {option.meaning}", 100, subsequent_indent="    ") for name, option in known.items()]
        function.__doc__ = before + indent("\n".join(lines), margin).lstrip() + after
        return function

    return show
