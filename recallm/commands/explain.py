"""``explain``: what a cached function would do with a call, and why, without calling it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from recallm.commands.opening import named_object
from recallm.commands.output import add_json, duration, print_fields, print_json
from recallm.errors import InvalidTypeError, InvalidValueError, a_kind

if TYPE_CHECKING:
    import argparse

    from recallm.cache import BoundCachedFunction, CachedFunction
    from recallm.records import Explanation

EXIT_CODES = {"hit": 0, "miss": 1, "bypass": 3}
"""The exit code, by outcome; 2 is an error's."""

NOTE = """\
The function's module is imported, as a program would import it, and asked where its answers are: a storage that is the
program's own memory is empty here. Exit codes: 0 hit, 1 miss, 2 error, 3 bypass.
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "explain", help="what a cached function would do with a call, and why", description=NOTE
    )
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="a cached function, such as app.answers:answer")
    parser.add_argument("--args", metavar="JSON", default="[]", help="its positional arguments: a list")
    parser.add_argument("--kwargs", metavar="JSON", default="{}", help="its arguments by name, cache_context=… too")
    parser.add_argument("--unlike", metavar="JSON", help="another call's arguments by name: what keeps the two apart?")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the explanation; return 0 of a hit, 1 of a miss and 3 of a bypass."""
    args = _given(options.args, list, "--args")
    kwargs = _given(options.kwargs, dict, "--kwargs")
    other = None if options.unlike is None else _given(options.unlike, dict, "--unlike")
    function = _cached(options.function)
    explanation = _explained(function, args, kwargs)
    if other is not None:
        calls = (function._invocation((), other), function._invocation(tuple(args), kwargs))
        explanation = replace(explanation, differs=function._site.differences(*calls))
    if options.json:
        print_json(asdict(explanation))
    else:
        print_fields(_fields(explanation))
    return EXIT_CODES[explanation.outcome]


def _given(text: str, kind: type[Any], name: str) -> Any:
    """Return arguments that were given as JSON.

    Raises:
        InvalidValueError: it is no JSON, or something else than a list or an object. What it is, is not shown.
    """
    wanted = "'[\"How are you?\"]'" if kind is list else '\'{"question": "How are you?"}\''
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidValueError(f"{name} is no JSON: {error}; write {name} {wanted}") from None
    if not isinstance(found, kind):
        raise InvalidValueError(f"{name} is a JSON {type(found).__name__}; write {name} {wanted}")
    return found


def _cached(path: str) -> CachedFunction[..., Any] | BoundCachedFunction[..., ..., Any]:
    from recallm.cache import BoundCachedFunction, CachedFunction

    function = named_object(path, "a function")
    if isinstance(function, CachedFunction | BoundCachedFunction):
        return function
    raise InvalidTypeError(f"{path} is {a_kind(function)}; name a function that recallm caches")


def _explained(function: Any, args: list[Any], kwargs: dict[str, Any]) -> Explanation:
    # A client of asyncio serves async functions only.
    found: Explanation = (
        asyncio.run(function.aexplain(*args, **kwargs))
        if function._site.kind == "async"
        else function.explain(*args, **kwargs)
    )
    return found


def _fields(found: Explanation) -> list[tuple[str, str]]:
    """Return what there is to tell, by name."""
    vetoed_by = None if found.vetoed_by is None else f"{found.vetoed_by} (else it would have served)"
    rows = [
        ("outcome", f"{found.outcome}: {found.reason}"),
        ("detail", found.detail),
        ("differs", ", ".join(found.differs) or None),
        ("similarity", None if found.similarity is None else f"{found.similarity:.4f}"),
        ("threshold", None if found.threshold is None else f"{found.threshold:.4f}"),
        ("vetoed by", vetoed_by),
        ("cached prompt", found.cached_prompt),
        ("age", None if found.age is None else duration(found.age)),
        ("namespace", found.namespace),
    ]
    return [(name, value) for name, value in rows if value is not None]
