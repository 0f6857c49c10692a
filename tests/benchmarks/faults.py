"""What trouble costs: the fault table, a burst of equal calls, and calls while a part is dead.

Run with ``python tests/benchmarks/faults.py``. `tests/behaviour/test_faults.py` and
`tests/concurrency/test_coalescing.py` assert what is printed here, but for the times.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from behaviour.test_faults import FAULTS, LIMIT_SECONDS, LIMITS, Switch, observe
from behaviour.test_interruptions import WAITED_FOR, DeadlineError, Held, raising_soon, waits_for
from support.faulty import Function

from recallm import InMemoryStorage, ThreadSafeInMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder

THREADS, TASKS, PROMPTS, ROUNDS = 64, 500, 50, 5
CALLS = 1000


def fault_table() -> None:
    """Print what each fault does to a sync and to an async call."""
    print(f"{'fault':42} {'':5} {'caller gets':12} calls {'added':>9}  {'counted as':17} {'errors':10} log lines")
    for name, fault in FAULTS.items():
        for asynchronous in (False, True):
            seen = observe(fault, asynchronous=asynchronous)
            answer = seen.answer if isinstance(seen.answer, str) else type(seen.answer).__name__
            print(
                f"{name:42} {'async' if asynchronous else 'sync':5} {answer:12} {seen.calls:5} "
                f"{seen.seconds * 1e3:6.1f} ms  {seen.outcome:17} {', '.join(seen.errors) or '-':10} {seen.lines:9}"
            )


def table_of_interruptions() -> None:
    """Print what a caller gets whom a signal handler's exception reaches while the cache waits, and after how long."""
    print(f"{'a handler raises during a wait for':42} {'caller gets':12} {'after':>9}  {'counted as':17} others then")
    for part in WAITED_FOR:
        held, error = Held(), DeadlineError("time is up")
        ask = waits_for(part, held)
        other = threading.Thread(target=ask, args=("three",))
        if part != "model":
            ask("one two")
        held.holding = True
        if part == "another call":
            other.start()
            held.begun.wait()
        began, got = perf_counter(), "an answer"
        with raising_soon(error, held.begun, once=False):
            try:
                ask("three" if part == "another call" else "two one")
            except DeadlineError:
                got = "DeadlineError"
            seconds = perf_counter() - began
        held.holding = False
        held.released.set()
        counted = ", ".join(ask.stats().bypasses) or "-"
        print(f"{part:42} {got:12} {seconds * 1e3:6.1f} ms  {counted:17} {ask('one two')}")


def burst_of_threads() -> None:
    """Print how often the function runs, and how many calls a second 64 threads get answered."""
    ran: list[str] = []
    together = threading.Barrier(THREADS)

    @semantic_cache(context={}, storage=ThreadSafeInMemoryStorage(), embedder=FakeEmbedder(), guards=(), threshold=1.0)
    def ask(question: str) -> str:
        ran.append(question)
        return question

    def caller() -> None:
        together.wait()
        for _ in range(ROUNDS):
            for number in range(PROMPTS):
                ask(f"question{number}")

    began = perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(caller) for _ in range(THREADS)]:
            future.result()
    report("threads", THREADS, THREADS * PROMPTS * ROUNDS, perf_counter() - began, len(ran))


async def burst_of_tasks() -> None:
    """Print the same for 500 tasks."""
    ran: list[str] = []

    @semantic_cache(context={}, storage=InMemoryStorage(), embedder=FakeEmbedder(), guards=(), threshold=1.0)
    async def ask(question: str) -> str:
        ran.append(question)
        await asyncio.sleep(0)
        return question

    async def caller() -> None:
        for _ in range(ROUNDS):
            for number in range(PROMPTS):
                await ask(f"question{number}")

    began = perf_counter()
    await asyncio.gather(*(caller() for _ in range(TASKS)))
    report("tasks", TASKS, TASKS * PROMPTS * ROUNDS, perf_counter() - began, len(ran))


def report(kind: str, callers: int, calls: int, seconds: float, ran: int) -> None:
    """Print a burst's figures."""
    print(f"{callers} {kind}, {PROMPTS} prompts: the function ran {ran} times; {calls / seconds:,.0f} calls a second")


def dead_part(name: str, options: Callable[[Switch], dict[str, Any]], *, asynchronous: bool) -> None:
    """Print what a thousand calls cost while a part hangs."""
    on = Switch()
    on.acting.set()
    function = Function(asynchronous=asynchronous, config=LIMITS, **options(on))
    times = []

    async def call_all() -> None:
        for number in range(CALLS):
            began = perf_counter()
            answer = function.cached(f"question {number}")
            if asynchronous:
                await answer
            times.append(perf_counter() - began)

    asyncio.run(call_all())
    on.released.set()
    print(
        f"{name} hangs, {'async' if asynchronous else 'sync'}: {CALLS} calls added {sum(times):.2f} s in all "
        f"({sum(times) / LIMIT_SECONDS:.1f} time limits); {median(times) * 1e6:.0f} us a call while open"
    )


def main() -> None:
    """Print all figures."""
    logging.getLogger("recallm").addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    fault_table()
    print()
    table_of_interruptions()
    print()
    burst_of_threads()
    asyncio.run(burst_of_tasks())
    print()
    for asynchronous in (False, True):
        dead_part("embedder", lambda on: {"embedder": on.embedder(on.hang)}, asynchronous=asynchronous)
        dead_part("storage", lambda on: {"storage": on.storage(recall=on.hang)}, asynchronous=asynchronous)


if __name__ == "__main__":
    main()
