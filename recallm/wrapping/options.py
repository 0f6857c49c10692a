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

from recallm import amounts, checks
from recallm.config import CacheConfig
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.guards.default import DEFAULT_GUARDS
from recallm.keying.completeness import is_complete
from recallm.keying.signature import fitting
from recallm.keying.tags import checked_tags
from recallm.storage.base import StorageBackend
from recallm.typing import (
    SERVES,
    Context,
    Duration,
    EmbedderLike,
    Guard,
    History,
    Mode,
    Namespace,
    Price,
    Prompt,
    Same,
    Serve,
    SkipIf,
    StoreIf,
    Tags,
    Threshold,
    Ttl,
    Verifier,
)

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
    history: History
    namespace: Namespace | None
    version: str | None
    ignore: Collection[str]
    ttl: Ttl | None
    ttl_jitter: float
    store_if: StoreIf | None
    verify: Verifier | None
    response_type: Any
    response_types: Collection[Any] | None
    coalesce: bool
    stale_if_error: Duration | None
    stale_while_revalidate: Duration | None
    tags: Tags | None
    serve: Serve
    skip_if: SkipIf | None
    price: Price | None
    audit: float
    same: Same | None
    max_wrong: float | None


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
            check=lambda value: fitting(checks.context(value), "context", "kw"),
        ),
        "prompt": Option(
            "name of the argument that carries the prompt, or a callable of all arguments that returns it (None: not "
            "cached); not given: ``messages``, else the only one among ``prompt``, ``question``, ``query``, ``input``, "
            "``contents``, ``text``, ``message``, ``user_input``, ``user_prompt``, ``user_message``, ``instruction``, "
            "else the only parameter. It goes by names, never by types. For conversations see `recallm.standalone`."
        ),
        "history": Option(
            'what the turns before the last one of messages must be. ``"equal"``: this is never wrong. ``"similar"``: '
            "as many turns, each alike and passed by the guards, with the same numbers, names and literals. Of answers "
            "to reworded conversations it finds some 15 in 100, where equality finds none, and 1 to 3 in 100 that it "
            "serves are wrong.",
            "equal",
            lambda value: checks.choice(value, "history", ("equal", "similar")),
        ),
        "namespace": Option(
            "what is invalidated together: a str, or a callable of all arguments; not given: the config's default, "
            "for the decorator the function's ``module.qualname`` unless the config gives one.",
            check=lambda value: None if value is None else fitting(checks.namespace(value), "namespace", "kw"),
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
            "seconds, timedelta or a text such as ``1h30m`` until an answer expires, or a callable of the response "
            "that returns one, not async; None: never; not given: the config's default. If the callable raises, or "
            "returns no time, the answer is not stored.",
            NOT_GIVEN,
            lambda value: value if value is NOT_GIVEN else fitting(amounts.ttl(value), "ttl", "response"),
        ),
        "ttl_jitter": Option(
            "share, from 0 to below 1, by which the time to live is shortened at the most, so that answers that were "
            "stored together do not expire together. It is drawn by the prompt's key: the same for one prompt.",
            0.0,
            amounts.jitter,
        ),
        "store_if": Option(
            "predicate of the response, not async: what it refuses is not stored, and if it is stored already, not "
            "served; None: `recallm.is_complete`, which refuses empty answers, and those that were cut off, refused, "
            "filtered, or that tell of an error.",
            is_complete,
            lambda value: (
                is_complete if value is None else fitting(checks.predicate(value, "store_if"), "store_if", "response")
            ),
        ),
        "verify": Option(
            "asked last about a similar prompt's answer: ``(prompt, cached_prompt, response) -> bool``, sync or async, "
            "within ``verify_timeout_seconds``; an answer that it refuses is a miss.",
            check=lambda value: fitting(
                checks.optional_callable(value, "verify"), "verify", "prompt", "cached_prompt", "response"
            ),
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
            "seconds, timedelta or text for which an answer that has expired is served if the function raises an "
            "`Exception`; None: the exception reaches the caller.",
            check=lambda value: checks.ttl(value, "stale_if_error"),
        ),
        "stale_while_revalidate": Option(
            "seconds, timedelta or text for which an answer that has expired is served at once, while the function "
            "makes a new one: a sync function in another thread, an async one in a task of its event loop, once at a "
            "time for each answer, with copies of the lists and dicts that were passed. Under trio a call waits for "
            "the function instead. None: not at all.",
            check=lambda value: checks.ttl(value, "stale_while_revalidate"),
        ),
        "tags": Option(
            "names of what an answer rests on, by which `recallm.invalidate_tag` removes it: a str, a collection of "
            "str, or a callable ``(kw, response)``, of all arguments by name and the response, that returns one; an "
            "answer whose tags cannot be had is not stored.",
            check=lambda value: fitting(checked_tags(value), "tags", "kw", "response"),
        ),
        "serve": Option(
            '``"all"``; ``"exact"``: only the very same prompt\'s answer is served, and a similar one\'s is not looked '
            'for; ``"none"``: answers are looked up, ``stats().shadow_hits`` counts what would have been served, and '
            "each call calls the function. A call's ``cache_serve=`` takes precedence; `recallm.set_serve` caps both.",
            "all",
            lambda value: checks.choice(value, "serve", SERVES),
        ),
        "skip_if": Option(
            "predicate of all arguments by name, not async: if it returns True, the call is none of the cache's, for "
            "private data. Nothing is looked up, embedded, stored or logged of it, nor if the predicate raises.",
            check=lambda value: (
                None if value is None else fitting(checks.predicate(value, "skip_if", else_=""), "skip_if", "kw")
            ),
        ),
        "price": Option(
            "what a million tokens cost, in and out, such as ``(0.15, 0.60)``, or ``{'input': 0.15, 'output': 0.60}``, "
            "or a callable of the response that returns what it cost, for ``stats().saved_cost``; the currency is "
            "yours.",
            check=lambda value: fitting(amounts.price(value), "price", "response"),
        ),
        "audit": Option(
            "share of the similar hits, in [0, 1], for which the function is called after all: its answer is returned "
            "and stored, and the stored one is compared with it by ``same``, for ``stats().wrong_rate``. Such a call "
            "is a miss. Which hits are drawn follows from their keys and their order.",
            0.0,
            lambda value: checks.share_or_all(value, "audit"),
        ),
        "same": Option(
            "compares two answers for ``audit``: ``(prompt, cached_response, response) -> bool``, not async; True if "
            "the cached one would have been as right. A thread calls it some time later. None: "
            "`recallm.judges.texts_agree`, which finds some right answers wrong.",
            check=lambda value: (
                None
                if value is None
                else fitting(checks.predicate(value, "same", else_=""), "same", "prompt", "cached_response", "response")
            ),
        ),
        "max_wrong": Option(
            "share of the similar hits that may be wrong: once audits prove that more are, only the very same prompt's "
            "answers are served by this cache in this process, until ``reset_stats()``; None: no limit. A cache that "
            "keeps to it, as ``same`` judges, is stopped with a probability of at most 5 %, however long it runs. It "
            "needs a ``same`` of yours.",
            check=lambda value: value if value is None else checks.share(value, "max_wrong"),
        ),
        "threshold": Option(
            '``"strict"``, ``"balanced"``, ``"guarded"`` (only with all default guards), ``"loose"`` or a cosine in '
            '[0, 1]; ``"exact"``: only the very same prompt, no embedding at all (for text that is data: translate, '
            "embed, tool calls); not given: the config's.",
            NOT_GIVEN,
        ),
        "storage": Option("a storage, a registered name, or a URL such as ``redis://localhost``.", "default"),
        "embedder": Option("see `recallm.typing.EmbedderLike`; None: the default one, loaded on first use."),
        "guards": Option("asked in order whether a candidate may serve; ``()`` turns them off.", DEFAULT_GUARDS),
        "config": Option("a `CacheConfig` that supplies what is not given here."),
        "name": Option("name under which `recallm.stats(name)` reports; not given: ``module.qualname``."),
    }
)


def checked_guards(guards: object, threshold: Threshold) -> tuple[Guard, ...]:
    """Return guards that may be asked at a threshold.

    Raises:
        InvalidTypeError: `guards` is not a sequence of callables of two prompts, or one of them is async.
        InvalidValueError: the threshold is "guarded", which counts on the default guards, and one of them is not there.
    """
    given = checks.guards(guards)
    for guard in given:
        if guard not in DEFAULT_GUARDS:
            fitting(guard, "guards", "prompt", "cached_prompt")
    missing = [guard.__name__ for guard in DEFAULT_GUARDS if guard not in given]
    if threshold == "guarded" and missing:
        raise InvalidValueError(
            f"threshold='guarded' counts on the default guards, and guards= leaves out {', '.join(missing)}; use "
            "guards=(*recallm.DEFAULT_GUARDS, ...) or threshold='balanced'"
        )
    return given


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
