"""The fault table: a part that was sound acts up, and what the caller, the counters and the log make of it.

``python tests/benchmarks/faults.py`` prints it, with the time that each fault adds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.faulty import HANG_SECONDS, PATIENT, Function, Obstinate, lying, returning

import recallm
from recallm import CacheConfig, InMemoryStorage, registry
from recallm.records import Recalled
from recallm.telemetry import log
from recallm.testing import Clock, FakeEmbedder

LIMIT_SECONDS = 0.2
LIMITS = CacheConfig(
    cache_timeout_seconds=LIMIT_SECONDS, embed_timeout_seconds=LIMIT_SECONDS, verify_timeout_seconds=LIMIT_SECONDS
)


class Switch:
    """Says when the parts start to misbehave, and when to stop."""

    def __init__(self) -> None:
        self.acting = threading.Event()
        self.released = threading.Event()

    def hang(self, *_: Any) -> Any:
        """Hang until released."""
        self.released.wait(HANG_SECONDS)

    def storage(self, **replaced: Callable[..., Any]) -> Obstinate:
        """Return a storage whose operations are replaced once the switch is on."""

        def switched(replacement: Callable[..., Any]) -> Callable[..., Any]:
            return lambda own, *args: replacement(own, *args) if self.acting.is_set() else own(*args)

        storage = Obstinate()
        storage.replaced = {name: switched(replacement) for name, replacement in replaced.items()}
        return storage

    def predicate(self, instead: Callable[..., Any]) -> Callable[..., Any]:
        """Return a guard or a predicate that accepts everything, and does something else once the switch is on."""
        return lambda *asked: instead(*asked) if self.acting.is_set() else True

    def embedder(self, instead: Callable[[], Any]) -> FakeEmbedder:
        """Return an embedder that does something else once the switch is on."""
        acting = self.acting

        class Switched(FakeEmbedder):
            def embed(self, text: str) -> Any:
                return instead() if acting.is_set() else super().embed(text)

        return Switched()


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises this error."""

    def fail(*_: Any) -> Any:
        raise error

    return fail


class PanicException(BaseException):
    """What an extension written in Rust raises when it panics."""


class Refusing(CollectorRegistry):
    """A metrics registry that refuses every metric."""

    register = raising(ValueError("duplicated timeseries"))


class FailingHandler(logging.Handler):
    """A log handler that fails."""

    emit = raising(OSError("no space left on device"))


@dataclass(frozen=True)
class Fault:
    """One part that misbehaves, and the consequences.

    Attributes:
        options: the options that the function is cached with.
        outcome: the outcome that the call is counted as.
        errors: the stages of the errors that are counted.
        lines: how many lines are logged.
        asked: the question asked while the part misbehaves; sound parts answer it from the cache, unless it is new.
        slow: whether the call takes a whole time limit.
        begins: makes the part misbehave, if the switch does not.
    """

    options: Callable[[Switch], dict[str, Any]]
    outcome: str
    errors: tuple[str, ...] = ()
    lines: int = 0
    asked: str = "password my reset"
    slow: bool = False
    begins: Callable[[dict[str, Any]], object] = lambda options: None


def replaced(factory: Callable[[], Any]) -> None:
    """Have another factory make the storage that functions use by default."""
    recallm.register_storage("default", factory, replace=True)


NEW = "an unheard-of question"
AWAY = ConnectionError("away")
PANIC, CANCELLED = PanicException("panicked"), asyncio.CancelledError()
LOST = {"recall": lambda own, *args: Recalled(None, own(*args).epoch), "search": returning([])}

FAULTS: dict[str, Fault] = {
    "embedder raises": Fault(
        lambda on: {"embedder": on.embedder(raising(AWAY))}, "bypass embedding", ("embedding",), 1
    ),
    "embedder hangs": Fault(
        lambda on: {"embedder": on.embedder(on.hang)}, "bypass embedding", ("embedding",), 2, slow=True
    ),
    "embedder returns garbage": Fault(
        lambda on: {"embedder": on.embedder(lambda: [float("nan")] * 256)}, "miss", ("embedding",), 1
    ),
    "embedder dies half-way": Fault(
        lambda on: {"embedder": on.embedder(raising(SystemExit(1)))}, "bypass embedding", ("embedding",), 1
    ),
    "storage raises at recall": Fault(
        lambda on: {"storage": on.storage(recall=raising(AWAY))}, "bypass storage", ("storage",), 1
    ),
    "storage raises at search": Fault(
        lambda on: {"storage": on.storage(search=raising(AWAY))}, "bypass storage", ("storage",), 1
    ),
    "storage raises at put": Fault(
        lambda on: {"storage": on.storage(put=raising(AWAY))}, "miss", ("storage",), 1, asked=NEW
    ),
    "storage hangs at recall": Fault(
        lambda on: {"storage": on.storage(recall=on.hang)}, "bypass storage", ("storage",), 2, slow=True
    ),
    "storage hangs at search": Fault(
        lambda on: {"storage": on.storage(search=on.hang)}, "bypass storage", ("storage",), 2, slow=True
    ),
    "storage hangs at put": Fault(
        lambda on: {"storage": on.storage(put=on.hang)}, "miss", ("storage",), 2, asked=NEW, slow=True
    ),
    "storage loses data": Fault(lambda on: {"storage": on.storage(**LOST)}, "miss"),
    "storage returns another partition's entry": Fault(
        lambda on: {"storage": on.storage(**lying(partition="0" * 40))}, "miss"
    ),
    "storage returns a corrupt payload": Fault(
        lambda on: {"storage": on.storage(**lying(payload=b"\x80\x04."))}, "miss", ("codec",), 1
    ),
    "codec fails": Fault(
        lambda on: {},
        "miss",
        ("codec",),
        1,
        asked=NEW,
        begins=lambda options: setattr(options["function"], "response", threading.Lock()),
    ),
    "guard raises": Fault(lambda on: {"guards": (raising(AWAY),)}, "miss", ("guard",), 1),
    "guard panics": Fault(lambda on: {"guards": (raising(PANIC),)}, "miss", ("guard",), 1),
    "store_if panics": Fault(lambda on: {"store_if": on.predicate(raising(PANIC))}, "miss", ("store_if",), 1),
    "verifier raises": Fault(lambda on: {"verify": raising(AWAY)}, "miss", ("verify",), 1),
    "verifier hangs": Fault(lambda on: {"verify": on.hang}, "miss", ("verify",), 2, slow=True),
    "verifier's own task is cancelled": Fault(lambda on: {"verify": raising(CANCELLED)}, "miss", ("verify",), 1),
    "storage panics": Fault(
        lambda on: {"storage": on.storage(recall=raising(PANIC))}, "bypass storage", ("storage",), 1
    ),
    "storage's own task is cancelled": Fault(
        lambda on: {"storage": on.storage(search=raising(CANCELLED))}, "bypass storage", ("storage",), 1
    ),
    "storage returns rows that are read once": Fault(
        lambda on: {"storage": on.storage(search=lambda own, *asked: iter(own(*asked)))}, "hit"
    ),
    "storage factory raises": Fault(
        lambda on: {"storage": "default"},
        "bypass storage",
        ("storage",),
        1,
        begins=lambda options: replaced(raising(AWAY)),
    ),
    "storage factory hangs": Fault(
        lambda on: {"storage": "default", "verify": on.hang},
        "bypass storage",
        ("storage",),
        2,
        slow=True,
        begins=lambda options: replaced(options["verify"]),
    ),
    "storage is replaced": Fault(
        lambda on: {"storage": "default"}, "miss", begins=lambda options: replaced(InMemoryStorage)
    ),
    "vectors change their length": Fault(
        lambda on: {"embedder": on.embedder(lambda: [1.0] * 512)}, "miss", ("embedding",), 1
    ),
    "metrics registry refuses": Fault(
        lambda on: {}, "hit", ("metrics",), 1, begins=lambda options: recallm.use_metrics_registry(Refusing())
    ),
    "log handler raises": Fault(
        lambda on: {"embedder": on.embedder(raising(AWAY))},
        "bypass embedding",
        ("embedding",),
        1,
        begins=lambda options: logging.getLogger("recallm").addHandler(FailingHandler()),
    ),
    "clock jumps back": Fault(
        lambda on: {"storage": InMemoryStorage(clock=Clock()), "ttl": 60.0},
        "hit",
        begins=lambda options: options["storage"]._clock.advance(-3600.0),
    ),
}


@dataclass(frozen=True)
class Observed:
    """The effect of a fault: the columns of the table."""

    answer: object
    calls: int
    seconds: float
    outcome: str
    errors: tuple[str, ...]
    lines: int


class Lines(logging.Handler):
    """Keeps the lines that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect the lines that recallm logs; handlers added meanwhile are removed at the end."""
    logger, heard = logging.getLogger("recallm"), Lines()
    before = list(logger.handlers)
    logger.addHandler(heard)
    try:
        yield heard.lines
    finally:
        logger.handlers[:] = before


def observe(fault: Fault, *, asynchronous: bool) -> Observed:
    """Ask once while every part is sound, and once while one misbehaves."""
    on = Switch()
    # Of each kind, one line a minute is logged: whatever was observed before would keep quiet now.
    log.LOG._logged_at.clear()
    # What needs no waiting may take as long as a busy machine makes it; if it did wait, it would for much longer.
    metrics = registry._metrics
    options = {"config": LIMITS if fault.slow else PATIENT, **fault.options(on)}
    function = Function(asynchronous=asynchronous, **options)
    assert function.ask("reset my password") == "answer 1"
    before = outcomes(function)
    on.acting.set()
    try:
        with listening() as lines:
            fault.begins({**options, "function": function})
            began = perf_counter()
            answer = function.ask(fault.asked)
            seconds = perf_counter() - began
        counted = outcomes(function) - before
    finally:
        on.released.set()
        registry._metrics = metrics
        recallm.unregister_storage("default")
    errors = tuple(name.removeprefix("error ") for name in counted if name.startswith("error "))
    (outcome,) = (name for name in counted if not name.startswith("error "))
    return Observed(answer, function.ran, seconds, outcome, errors, len(lines))


def outcomes(function: Function) -> Counter[str]:
    """Return how the function's calls were counted, and the errors."""
    stats = function.cached.stats()
    counted = Counter({"hit": stats.hits, "miss": stats.misses})
    counted.update({f"bypass {reason}": number for reason, number in stats.bypasses.items()})
    counted.update({f"error {stage}": number for stage, number in stats.errors.items()})
    return counted


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.filterwarnings("ignore:.*cannot be stored:recallm.RecallmWarning")
def test_a_fault_costs_a_call_of_the_function_at_most(name: str, asynchronous: bool) -> None:
    """A fault costs at most one time limit and one call of the function, and is counted and logged."""
    fault = FAULTS[name]
    seen = observe(fault, asynchronous=asynchronous)
    assert (seen.outcome, seen.errors, seen.lines) == (fault.outcome, fault.errors, fault.lines)
    assert seen.calls == (1 if fault.outcome == "hit" else 2)
    assert seen.answer == f"answer {seen.calls}" or name == "codec fails"
    assert seen.seconds >= LIMIT_SECONDS or not fault.slow
    assert seen.seconds < HANG_SECONDS / 2
