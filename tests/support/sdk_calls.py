"""What a cache does with the calls of an SDK's method, seen from outside: by answers, requests and statistics."""

from __future__ import annotations

import asyncio
import importlib
import warnings
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, cast

from support.fake_vendors import FakeVendors
from support.sdk_framework_rows import langchain_rows, pydantic_ai_rows
from support.sdk_rows import (
    CHANGES,
    OTHER_QUESTION,
    REWORDED,
    Ask,
    Row,
    anthropic_rows,
    gemini_rows,
    instructor_rows,
    litellm_rows,
    ollama_rows,
    openai_rows,
)

from recallm import InMemoryStorage, SemanticCache
from recallm.records import Explanation
from recallm.telemetry.stats import CacheStats
from recallm.typing import EmbedderLike

ROWS: tuple[Row, ...] = (
    *openai_rows(), *anthropic_rows(), *gemini_rows(), *litellm_rows(), *ollama_rows(), *instructor_rows(),
    *langchain_rows(), *pydantic_ai_rows(),
)  # fmt: skip

COLUMNS = (
    "exact", "similar", "question", "model", "system", "temperature", "tools", "object", "equal", "stream", "returns",
)  # fmt: skip
"""What is seen of a row: two calls that must get the first one's answer, and calls that must not; a call of an equal
object, which may; a stream, which must pass; and the type of the answers."""


class Seen(NamedTuple):
    """What a call got.

    Attributes:
        outcome: what the statistics counted: ``"exact"``, ``"similar"``, ``"miss"``, ``"bypass: ..."``, or an error.
        answer: what the method returned, or the error that it raised.
        asked: how many requests reached the server.
        errors: what was counted as the cache's own errors.
    """

    outcome: str
    answer: Any
    asked: int
    errors: Mapping[str, int]


@dataclass(slots=True)
class Observed:
    """What was seen of a row.

    Attributes:
        name: the row's name.
        options: the options that it was wrapped with, as written.
        cells: column → what was seen; what is not as wanted starts with ``"!"``.
        reasons: what the cache says about the cells that are not as wanted.
        seconds: how long it took.
    """

    name: str
    options: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_as_wanted(self) -> bool:
        """Whether every cell is."""
        return not any(cell.startswith("!") for cell in self.cells.values())


class Caller:
    """Calls a row's method through a cache, in an event loop if it is async.

    Args:
        row: the row.
        vendors: the server that answers.
        cache: the cache.
        runner: runs what is awaited.
    """

    def __init__(self, row: Row, vendors: FakeVendors, cache: SemanticCache, runner: asyncio.Runner) -> None:
        self._row, self._vendors, self._cache, self._runner = row, vendors, cache, runner

    @property
    def asked(self) -> int:
        """How many requests the server has answered."""
        return self._vendors.calls

    def wrapped(self, other: str, options: Mapping[str, Any]) -> Any:
        """Return the method of a new object, cached."""
        return self._cache.wrap(self._row.make(self._vendors.url, other), context={}, **options)

    def call(self, method: Any, ask: Ask) -> Seen:
        """Call the method."""
        args, kwargs = self._row.arguments(ask)
        before, asked = self._cache.stats(), self._vendors.calls
        try:
            answer = self._finished(method(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # whatever an SDK raises is shown
            answer = error
        after = self._cache.stats()
        errors = {stage: count - before.errors.get(stage, 0) for stage, count in after.errors.items()}
        outcome = f"raised {type(answer).__name__}" if isinstance(answer, Exception) else _counted(before, after)
        return Seen(outcome, answer, self._vendors.calls - asked, {name: n for name, n in errors.items() if n})

    def explain(self, method: Any, ask: Ask) -> Explanation:
        """Return what the cache says about such a call."""
        args, kwargs = self._row.arguments(ask)
        explanation: Explanation = method.explain(*args, **kwargs)
        return explanation

    def read(self, stream: Any) -> int:
        """Read a stream to its end; return how many events there were."""

        async def count(events: AsyncIterator[Any]) -> int:
            return len([event async for event in events])

        return self._runner.run(count(stream)) if self._row.asynchronous else len(list(stream))

    def _finished(self, result: Any) -> Any:
        if not self._row.asynchronous:
            return result

        async def wait() -> Any:
            return await result

        return self._runner.run(wait())


def _counted(before: CacheStats, after: CacheStats) -> str:
    """Return what one call was counted as."""
    if after.exact_hits > before.exact_hits:
        return "exact"
    if after.semantic_hits > before.semantic_hits:
        return "similar"
    if after.misses > before.misses:
        return "miss"
    reasons = [name for name, count in after.bypasses.items() if count > before.bypasses.get(name, 0)]
    return f"bypass: {', '.join(reasons)}" if reasons else "uncounted"


def observe(
    row: Row, vendors: FakeVendors, embedder: EmbedderLike, runner: asyncio.Runner, *, with_options: bool
) -> Observed:
    """Wrap a row's method and call it in every way.

    Args:
        row: the row.
        vendors: the server that answers.
        embedder: embeds the prompts.
        runner: runs what is awaited; one for all rows, as SDKs keep connections for clients to come.
        with_options: whether the row's options are used.
    """
    began = perf_counter()
    options = row.options if with_options else {}
    seen = Observed(row.name, ", ".join(f"{name}={_written(value)}" for name, value in options.items()))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        cache = SemanticCache(InMemoryStorage(), embedder=embedder)
        try:
            _observe(row, Caller(row, vendors, cache, runner), seen, options)
        except Exception as error:  # noqa: BLE001  # a row that cannot be wrapped is shown, too
            seen.cells.setdefault("exact", f"!{type(error).__name__}")
            seen.reasons.append(f"{type(error).__name__}: {error}")
    if not seen.is_as_wanted:
        told = [str(each.message) for each in warned if each.category.__module__.startswith("recallm")]
        seen.reasons += dict.fromkeys(told)
    seen.seconds = perf_counter() - began
    return seen


def _observe(row: Row, caller: Caller, seen: Observed, options: Mapping[str, Any]) -> None:
    method = caller.wrapped("", options)
    first = caller.call(method, Ask())
    if isinstance(first.answer, Exception):
        seen.cells["exact"] = f"!{first.outcome}"
        seen.reasons.append(str(first.answer))
        return
    seen.cells["returns"] = _returned(row, first, seen)
    for column, ask in (("exact", Ask()), ("similar", Ask(question=REWORDED))):
        again = caller.call(method, ask)
        seen.cells[column] = _served(row, column, first, again, seen)
        if again.outcome == "miss":
            seen.reasons.append(f"{column}: {caller.explain(method, ask)}")
    asks: dict[str, Ask] = {"question": Ask(question=OTHER_QUESTION), **{each: CHANGES[each] for each in row.changes}}
    stream = asks.pop("stream", None)
    for column, ask in asks.items():
        seen.cells[column] = _refused(row, column, first, caller.call(method, ask), seen)
    for other in row.others:
        cell = _refused(row, f"other {other}", first, caller.call(caller.wrapped(other, options), Ask()), seen)
        if not seen.cells.get("object", "").startswith("!"):
            seen.cells["object"] = f"{cell} ({other})" if cell.startswith("!") else cell
    equal = caller.call(caller.wrapped("", options), Ask()) if row.others else None
    seen.cells["equal"] = "-" if equal is None else equal.outcome.partition(":")[0]
    seen.cells["stream"] = f"by {row.streams_by}" if stream is None else _streamed(caller, method, stream, seen)


def _returned(row: Row, first: Seen, seen: Observed) -> str:
    name = type(first.answer).__qualname__
    if first.outcome != "miss":
        return name
    if "codec" in first.errors:
        return f"!{name}, not stored"
    row.text(first.answer)
    if first.errors:
        seen.reasons.append(f"first call: errors {dict(first.errors)}")
    return name


def _served(row: Row, wanted: str, first: Seen, again: Seen, seen: Observed) -> str:
    """Return the cell of a call that must get the first one's answer."""
    if again.outcome != wanted:
        return _unwanted(wanted, again.outcome, seen)
    if again.asked or type(again.answer) is not type(first.answer):
        return f"!{wanted}, a {type(again.answer).__name__}"
    difference = _difference(row, first.answer, again.answer)
    if difference:
        seen.reasons.append(f"{wanted}: {difference}")
    return f"!{wanted}, differs" if difference else wanted


def _difference(row: Row, one: Any, other: Any) -> str:
    if row.text(one) != row.text(other):
        return f"the text is {row.text(other)!r}, it was {row.text(one)!r}"
    if one is other:
        return "the answer is the very object of the first call"
    if one == other or (cast("object", type(one).__eq__) is object.__eq__ and _plain(one) == _plain(other)):
        return ""
    ours, theirs = _plain(one), _plain(other)
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return f"{other!r} is not equal to {one!r}"
    names = [name for name in {**ours, **theirs} if ours.get(name, ...) != theirs.get(name, ...)]
    return "not equal in " + "; ".join(f"{name}: {theirs.get(name)}, was {ours.get(name)}" for name in names)


def _plain(value: Any) -> Any:
    """Return what a value holds, as texts, for types whose instances are equal only to themselves."""
    held = {**getattr(value, "__dict__", {}), **(getattr(value, "__pydantic_private__", None) or {})}
    return {name: repr(item) for name, item in held.items()} or repr(value)


def _refused(row: Row, column: str, first: Seen, seen_now: Seen, seen: Observed) -> str:
    """Return the cell of a call that must not get the first one's answer."""
    if isinstance(seen_now.answer, Exception):
        seen.reasons.append(f"{column}: {seen_now.answer}")
        return f"!{seen_now.outcome}"
    if row.text(seen_now.answer) == row.text(first.answer):
        return f"!WRONG {seen_now.outcome} hit"
    if seen_now.outcome == "miss" and seen_now.asked == 1:
        return "miss"
    if column in row.live and seen_now.outcome.startswith("bypass"):
        return "bypass"
    return _unwanted(column, seen_now.outcome, seen)


def _unwanted(column: str, outcome: str, seen: Observed) -> str:
    """Return the cell of an outcome that is not as wanted; the reason of a bypass goes below the table."""
    kind, _, reason = outcome.partition(": ")
    if reason and outcome not in seen.reasons:
        seen.reasons.append(outcome)
    return f"!{kind}"


def _streamed(caller: Caller, method: Any, ask: Ask, seen: Observed) -> str:
    """Return the cell of a call that asks for a stream, twice: each must be readable, and a new one."""
    for _ in range(2):
        before = caller.asked
        now = caller.call(method, ask)
        if now.outcome != "bypass: stream":
            return _unwanted("stream", now.outcome, seen)
        try:
            events = caller.read(now.answer)
        except Exception as error:  # noqa: BLE001  # whatever an SDK raises is shown
            seen.reasons.append(f"stream: {error!r}")
            return f"!unreadable {type(now.answer).__name__}"
        if not events or caller.asked != before + 1:
            return "!empty"
    return "bypass"


def _written(value: Any) -> str:
    return "lambda kw: ..." if callable(value) else repr(value)


def missing(row: Row) -> bool:
    """Return whether a row's SDK is not installed."""
    try:
        importlib.import_module(row.package)
    except ImportError:
        return True
    return False
