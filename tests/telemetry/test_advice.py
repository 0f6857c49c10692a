"""Advice warns the author of a function once for each cause that keeps its calls from being cached."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from recallm import RecallmWarning
from recallm.errors import UnstorableResponseError
from recallm.records import Bypass, Event, Failure, Hit, Miss, Query
from recallm.telemetry import advice, log
from recallm.telemetry.advice import CHANGED_READS, KNOWN_CALLS, MAX_NAMES, UNIQUE_MISSES, Advice, Described
from recallm.telemetry.log import Log

MISS = Miss("unlike", Query("q", "n", "p", "k"), 0)
UNFINGERPRINTABLE = Bypass("unfingerprintable", "client (shop.Client)", "pass ignore=('client',)")
UNSTORABLE = Failure("codec", UnstorableResponseError("a socket cannot be stored"))


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kind of trouble has been logged yet."""
    made = Log()
    for module in (log, advice):
        monkeypatch.setattr(module, "LOG", made)


def fresh() -> Advice:
    """Return the advice for one function."""
    return Advice("module.ask", where=("file.py", 12))


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [record.getMessage() for record in caplog.records if record.name == "recallm"]


def _given(call: Described) -> Described:
    return call


def misses(told: Advice, calls: Iterable[Described]) -> None:
    """Have calls that are described so miss."""
    for call in calls:
        told.on(MISS, partial(_given, call))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (UNFINGERPRINTABLE, r"ask are not cached, as 'client' holds .*: client \(shop\.Client\); pass ignore="),
        (Bypass("no_prompt", "'history' (list)", "pass prompt="), r"no prompt was found in them: 'history' .*prompt="),
        (Bypass("arguments", "missing a required argument: 'b'"), r"does not take their arguments: missing"),
        (Bypass("stream", "stream=True"), r"their answers are streams: stream=True"),
        (Bypass("awaitable", "coroutine", "pass mode='async'"), r"returns an awaitable: coroutine; pass mode='async'"),
        (Bypass("generator", None, "return the whole answer"), r"generates its answer; return the whole answer"),
        (
            Failure("keying", KeyError("a secret")),
            r"or an argument, raised KeyError while the call was read; see \.explain",
        ),
        (UNSTORABLE, r"module\.ask returned what cannot be stored: a socket"),
        (
            Miss("unknown_type", MISS.query, 0, detail="shop.types.Answer"),
            r"is stored as a shop\.types\.Answer, .* pass response_type=Answer, or import shop\.types before",
        ),
        (
            Miss("unknown_type", MISS.query, 0, detail="shop.ask.<locals>.Out"),
            r"ask\.<locals>\.Out.*response_type=\.\.\.$",
        ),
        (Miss("unknown_type", MISS.query, 0, detail=""), r"is stored as a class, .* pass response_type=\.\.\.$"),
        (Miss("changed", MISS.query, 0), r"changed while the call waited, so the answer was not stored"),
    ],
)
def test_the_author_is_warned_once(event: Event, expected: str) -> None:
    """An event that keeps calls from being cached is warned about once, at the line that defines the function."""
    told = fresh()
    with pytest.warns(RecallmWarning, match=expected) as caught:
        told.on(event, dict)
    told.on(event, dict)
    assert [(warning.filename, warning.lineno) for warning in caught] == [("file.py", 12)]
    assert "a secret" not in str(caught[0].message)


@pytest.mark.parametrize(
    "event",
    [MISS, Bypass("cancelled"), Bypass("storage"), Failure("codec", ValueError()), Failure("storage", OSError())],
)
def test_of_all_else_the_author_is_not_warned(event: Event) -> None:
    """Other events cause no warning (warnings are errors in this test)."""
    fresh().on(event, lambda: {"user": 1})


def test_a_module_that_the_function_imports_itself_is_told_if_it_stays_away() -> None:
    """The first calls of a process may find a module missing; only if later ones do, too, is the author warned."""
    told, missing = fresh(), Bypass("identity", "shop.prompts")
    for _ in range(2):
        told.on(missing, dict)
    with pytest.warns(RecallmWarning, match=r"imports a module when it runs .*: shop\.prompts"):
        told.on(missing, dict)


def test_a_warning_that_is_turned_into_an_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """If the user turns warnings into errors, the advice is logged and the call goes on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh().on(UNFINGERPRINTABLE, dict)
    assert "as 'client' holds" in logged(caplog)[0]


def test_a_warning_filter_that_breaks_does_not_fail_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the warnings machinery fails, the failure is logged and the call goes on."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("hook")

    monkeypatch.setattr(warnings, "warn_explicit", broken)
    fresh().on(UNFINGERPRINTABLE, dict)
    assert logged(caplog) == ["cache 'module.ask': advice failed with RuntimeError"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("context['request_id']", r"`request_id` was unique in 100 of 100 calls of module\.ask"),
        ("self", r"`self` was unique .*name those of its attributes .*ignore=\('self\.client',\)"),
        ("messages[0]", r"`messages\[0\]` was unique .*keep clocks and ids out of the system prompt"),
        ("the function", r"`the function` was unique .*pass ignore= or version="),
    ],
)
def test_what_is_never_the_same_is_told(name: str, expected: str) -> None:
    """A part of the calls with a new value in each of a hundred misses is warned about once; other parts are not."""
    told = fresh()
    misses(told, ({name: number, "user": number % 99} for number in range(UNIQUE_MISSES - 1)))
    with pytest.warns(RecallmWarning, match=expected) as caught:
        misses(told, ({name: number, "user": number % 99} for number in range(1000, 1200)))
    assert len(caught) == 1


def reads(**values: Any) -> Described:
    """Return the description of a call by what the function reads; two underscores stand for a dot."""
    return {name.replace("__", ".") + advice.READ: value for name, value in values.items()}


@pytest.mark.parametrize(
    ("parts", "told_of", "remedy"),
    [
        (("router",), "router", r"ignore=\('router',\)"),
        (
            ("router", "router__state", "router__seen"),
            r"router\.state, router\.seen",
            r"'router\.state', 'router\.seen'",
        ),
        (("router", "self", "self__count"), "router", r"ignore=\('router',\)"),
        (("self", "self__count"), r"self\.count", r"ignore=\('self\.count',\)"),
        (tuple(f"router__part{number}" for number in range(9)), "router", r"ignore=\('router',\)"),
    ],
)
def test_what_the_function_reads_and_what_changes_as_it_runs_is_told(
    parts: tuple[str, ...], told_of: str, remedy: str
) -> None:
    """If some of it differs at each miss, all that does is named in one warning, as narrowly as it is known."""
    told = fresh()
    changing = [reads(**dict.fromkeys(parts, number % 2), prices=1) for number in range(3 * UNIQUE_MISSES)]
    misses(told, changing[: CHANGED_READS - 1])
    with pytest.warns(RecallmWarning, match=rf"module\.ask reads differs at each call: {told_of};.*{remedy}") as caught:
        misses(told, ({**call, "the function": number} for number, call in enumerate(changing)))
    assert len(caught) == 1


def test_what_is_read_by_name_later_only_is_told_with_the_rest() -> None:
    """What lies in a variable is named once the variable is known to change; the warning has it all the same."""
    told = fresh()
    misses(told, (reads(router=number) for number in range(3)))
    with pytest.warns(RecallmWarning, match=r"differs at each call: router\.state;"):
        misses(told, (reads(router=number, router__state=number) for number in range(3, 9)))


def test_what_the_function_reads_may_change_now_and_then() -> None:
    """What is the same in one of two misses, or differs at each of them but lets other calls hit, is not told."""
    told = fresh()
    misses(told, (reads(router=number // 2) for number in range(300)))
    for number in range(300):
        misses(told, [{**reads(prices=number), "user": number}])
        if number % 5 == 0:
            told.on_hit()


@pytest.mark.parametrize(
    "calls",
    [
        [{"user": number % 99} for number in range(300)],
        [{f"key {number}": number} for number in range(300)],
        [{} for _ in range(300)],
    ],
    ids=["repeats", "ever other keys", "empty"],
)
def test_other_calls_are_not(calls: list[Described]) -> None:
    """Calls whose parts repeat, or have other names each time, cause no warning, and little of them is remembered."""
    told = fresh()
    misses(told, calls)
    assert len(told._recent) <= MAX_NAMES


def test_the_nearest_of_the_latest_misses_is_compared() -> None:
    """A call differs from the nearest of the misses before it in the parts that are named, if there were any."""
    told = fresh()
    assert told.differences({"user": 1}) == ()
    misses(told, [{"user": 1, "model": 1, "seed": 1}, {"user": 2, "model": 2, "seed": 2}])
    assert told.differences({"user": 1, "model": 3, "seed": 1}) == ("model",)
    assert told.differences({"user": 2, "model": 2, "seed": 2}) == ()
    assert set(told.differences({"user": 2, "model": 2})) == {"seed"}


def test_misses_of_long_ago_are_forgotten() -> None:
    """Only so many misses are remembered."""
    told = fresh()
    misses(told, [{"user": 1}, *({"user": 2} for _ in range(KNOWN_CALLS))])
    assert told.differences({"user": 1}) == ("user",)


def test_hits_are_not_described() -> None:
    """A hit costs no description of its call."""
    described: list[int] = []
    hit = Hit.__new__(Hit, None, True, None)  # type: ignore[arg-type]  # advice looks at none of it

    def describe() -> Described:
        described.append(1)
        return {}

    fresh().on(hit, describe)
    assert described == []
