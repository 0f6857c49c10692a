"""Worker threads may hang without holding up the caller, the pool or the end of the program."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest
from support.interrupting import each_point

from recallm import InMemoryStorage, semantic_cache
from recallm.concurrency.workers import Workers
from recallm.errors import BusyError
from recallm.testing import FakeEmbedder
from recallm.testing.threads import run_at_once

WAIT = 20.0

USER: ContextVar[str] = ContextVar("user", default="nobody")


class Held:
    """Something big."""


POOL = ("recallm/concurrency/workers.py", "/threading.py", "concurrent/futures/_base.py")


def test_tasks_run_side_by_side_in_few_threads() -> None:
    """A pool of two runs two tasks at the same time, and any number of tasks in at most two threads."""
    workers = Workers("test", size=2)
    both = threading.Barrier(2)
    together = [workers.submit(lambda: both.wait(WAIT)) for _ in range(2)]
    assert sorted(future.result(WAIT) for future in together) == [0, 1]
    idents = {workers.submit(threading.get_ident).result(WAIT) for _ in range(50)}
    assert len(idents) <= 2


def test_what_a_task_raises_reaches_whoever_waits() -> None:
    """A task's exception reaches whoever waits for it, and the thread goes on, even after a `SystemExit`."""
    workers = Workers("test", size=1)
    for error, reaches in ((ValueError("odd"), ValueError), (SystemExit(3), RuntimeError)):

        def fail(error: BaseException = error) -> None:
            raise error

        with pytest.raises(reaches):
            workers.submit(fail).result(WAIT)
    assert workers.submit(lambda: 7).result(WAIT) == 7


def test_a_pool_whose_threads_all_hang_refuses_at_once() -> None:
    """A pool whose threads are all stuck refuses tasks at once, and accepts them again when a thread comes back."""
    workers = Workers("test", size=2)
    release = threading.Event()
    started = threading.Semaphore(0)

    def hang() -> None:
        started.release()
        release.wait(WAIT)

    hung = [workers.submit(hang) for _ in range(2)]
    for _ in hung:
        assert started.acquire(timeout=WAIT)
    for future in hung:
        workers.abandon(future)
    with pytest.raises(BusyError, match="all 2 test threads are stuck"):
        workers.submit(lambda: 1)
    release.set()
    for future in hung:
        future.result(WAIT)
    done = threading.Event()
    hung[-1].add_done_callback(lambda _: done.set())
    assert done.wait(WAIT)
    assert workers.submit(lambda: 1).result(WAIT) == 1


def test_a_thread_whose_waiter_was_called_away_is_not_stuck_yet() -> None:
    """With patience, the only thread still gets tasks, which wait for it; without, it is taken for stuck."""
    workers = Workers("test", size=1)
    begun, release = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait(WAIT)

    left = workers.submit(work)
    assert begun.wait(WAIT)
    workers.abandon(left, patience=WAIT)
    following = workers.submit(lambda: 7)
    workers.abandon(left)
    with pytest.raises(BusyError):
        workers.submit(lambda: 8)
    release.set()
    assert following.result(WAIT) == 7


def test_an_abandoned_task_that_has_not_begun_never_does() -> None:
    """A queued task that is abandoned never runs and leaves no thread stuck."""
    workers = Workers("test", size=1)
    release, ran = threading.Event(), threading.Event()
    first = workers.submit(lambda: release.wait(WAIT))
    second = workers.submit(ran.set)
    workers.abandon(second)
    release.set()
    first.result(WAIT)
    assert workers.submit(lambda: 1).result(WAIT) == 1
    assert not ran.is_set()
    workers.abandon(first)
    assert workers.submit(lambda: 1).result(WAIT) == 1


def test_an_idle_thread_keeps_nothing_alive() -> None:
    """An idle thread keeps neither the function nor the result of its last task alive."""
    workers = Workers("test", size=1)
    held = Held()
    seen = weakref.ref(held)
    future = workers.submit(lambda held=held: held)  # type: ignore[misc]
    assert future.result(WAIT) is held
    del held, future
    workers.submit(lambda: None).result(WAIT)
    gc.collect()
    assert seen() is None


def test_dismissed_threads_end_once_their_tasks_are_done() -> None:
    """What was submitted before is done first, and what is submitted later is done by another thread."""
    workers = Workers("test", size=2)
    both = threading.Barrier(3)
    together = [workers.submit(lambda: (both.wait(WAIT), threading.current_thread())[1]) for _ in range(2)]
    queued = workers.submit(lambda: 7)
    workers.dismiss()
    both.wait(WAIT)
    assert queued.result(WAIT) == 7
    for future in together:
        thread = future.result(WAIT)
        thread.join(WAIT)
        assert not thread.is_alive()
    assert workers.submit(threading.current_thread).result(WAIT).is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """A pool works in a forked child, and in the child's child, although its parent's threads are busy."""
    program = """
import os, threading
from recallm import InMemoryStorage, semantic_cache
from recallm.concurrency.workers import Workers
workers = Workers("test", size=1)
begun = threading.Event()
workers.submit(lambda: (begun.set(), threading.Event().wait(60)))
begun.wait(20)
def forked(inner):
    child = os.fork()
    if child == 0:
        os._exit(workers.submit(lambda: 7).result(20) + inner())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(forked(lambda: forked(lambda: 0)))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("14", 0), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_forked_amid_a_submit_runs_the_task() -> None:
    """A signal handler may fork at any point of a submit: the child's task runs, and the parent's too."""
    program = """
import os
from recallm.concurrency.workers import Workers
from support.interrupting import NEVER, Points
children, workers, pool = [], Workers("test", size=1), ("concurrency/workers.py",)
workers.submit(lambda: None).result(20)
def submit():
    result = workers.submit(lambda: 7).result(20)
    if 0 in children:
        os._exit(result)
    assert result == 7
counted = Points(pool, lambda: None, NEVER)
counted.of(submit)
for number in range(1, counted.passed):  # at the last one the task is submitted, and runs in the parent
    Points(pool, lambda: children.append(os.fork()), range(number, number + 1)).of(submit)
print(len(children) > 10, {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children})
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=100, env=environment
    )
    assert (done.stdout.strip(), done.returncode) == ("True {7}", 0), done.stderr


def test_a_hung_thread_does_not_keep_the_program_from_ending() -> None:
    """A program ends while a worker thread hangs, since workers are daemons that nobody joins."""
    program = """
import threading
from recallm import InMemoryStorage, semantic_cache
from recallm.concurrency.workers import Workers
begun = threading.Event()
Workers("test", size=1).submit(lambda: (begun.set(), threading.Event().wait(600)))
begun.wait(20)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_after_a_reset_nothing_is_stuck() -> None:
    """After a fork the pool begins with new threads and counts none of the old ones as stuck."""
    workers = Workers("test", size=1)
    begun, release = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(WAIT)

    hung = workers.submit(hang)
    assert begun.wait(WAIT)
    workers.abandon(hung)
    with pytest.raises(BusyError):
        workers.submit(lambda: 1)
    workers.after_fork()
    assert workers.submit(lambda: 7).result(WAIT) == 7
    release.set()


def use(workers: Workers, task: Callable[[], object]) -> None:
    """Use every operation of a pool: abandon a task that has begun, and one that may not have; dismiss the threads."""
    for _ in range(2):
        workers.abandon(workers.submit(task))
    workers.dismiss()
    workers.submit(task)


class Pool:
    """A pool that is used, and what lets its tasks end."""

    def __init__(self, use: Callable[[Pool], object], size: int = 3) -> None:
        self.workers = Workers("test", size=size)
        self.go_on = threading.Event()
        self.futures: list[Future[None]] = []
        self.nested: list[int] = []
        self._use = use

    def __call__(self) -> None:
        """Use it."""
        # In the midst of `Thread.start`, Python itself makes a `RuntimeError` of an interrupt.
        with suppress(RuntimeError):
            self._use(self)

    def hold(self) -> None:
        """Wait, as a task."""
        self.go_on.wait(WAIT)


def test_an_interrupt_at_any_moment_stops_no_later_task() -> None:
    """Wherever Ctrl-C ends a submit, an abandon or a dismissal, all tasks that are submitted afterwards run."""
    points = 0
    for where, pool in each_point(lambda: Pool(lambda ours: use(ours.workers, ours.hold)), POOL):
        points += 1
        pool.go_on.set()
        later = [pool.workers.submit(lambda n=n: n) for n in range(20)]
        assert [future.result(WAIT) for future in later] == list(range(20)), where
    assert points > 100


def test_an_interrupted_wait_stops_no_thread() -> None:
    """Wherever Ctrl-C ends the wait for a task, its thread goes on to the next one."""

    def wait(pool: Pool) -> None:
        with suppress(TimeoutError):
            pool.futures[0].result(0.001)

    def begin() -> Pool:
        pool = Pool(wait, size=1)
        pool.futures.append(pool.workers.submit(pool.hold))
        return pool

    points = 0
    for where, pool in each_point(begin, POOL):
        points += 1
        pool.go_on.set()
        assert pool.workers.submit(lambda: 7).result(WAIT) == 7, where
    assert points > 3


def test_a_finalizer_may_submit_amid_a_submit() -> None:
    """At any moment of a submit, an abandon or a dismissal, the same thread may submit another task and wait for it."""

    def submit_another(pool: Pool) -> None:
        pool.nested.append(pool.workers.submit(lambda: 7).result(WAIT))

    points = 0
    for where, pool in each_point(lambda: Pool(lambda ours: use(ours.workers, lambda: None)), POOL, submit_another):
        points += 1
        assert pool.nested == [7], where
        assert pool.workers.submit(lambda: 8).result(WAIT) == 8, where
    assert points > 100


def test_there_are_never_more_threads_than_places() -> None:
    """However many threads submit at once, no more tasks run at once than the pool may have threads."""
    for _ in range(20):
        workers = Workers("test", size=3)
        running: list[None] = []
        most: list[int] = []

        def task(running: list[None] = running, most: list[int] = most) -> None:
            running.append(None)
            most.append(len(running))
            running.pop()

        submitted = run_at_once([lambda ours=workers, task=task: ours.submit(task) for _ in range(12)])  # type: ignore[misc]
        for future in submitted:
            future.result(WAIT)
        assert max(most) <= 3


def test_threads_end_with_their_owner() -> None:
    """A pool that is garbage finishes what was submitted, and then its threads end."""
    workers, go_on = Workers("test", size=2), threading.Event()
    threads = [workers.submit(lambda: (go_on.wait(WAIT), threading.current_thread())[1]) for _ in range(3)]
    gone = weakref.ref(workers)
    del workers
    gc.collect()
    assert gone() is None
    go_on.set()
    for future in threads:
        thread = future.result(WAIT)
        thread.join(WAIT)
        assert not thread.is_alive()


def test_a_task_sees_the_context_of_whoever_submitted_it() -> None:
    """A task sees the submitter's context variables, and what it sets there nobody else sees."""
    workers = Workers("test", size=1)

    def swap(name: str) -> str:
        before = USER.get()
        USER.set(name)
        return before

    def submit_as(name: str) -> Future[str]:
        USER.set(name)
        return workers.submit(lambda: swap("somebody else"))

    ada = copy_context().run(submit_as, "Ada")
    bob = copy_context().run(submit_as, "Bob")
    assert [ada.result(WAIT), bob.result(WAIT), workers.submit(USER.get).result(WAIT)] == ["Ada", "Bob", "nobody"]


def test_an_idle_thread_keeps_no_context_alive() -> None:
    """An idle thread keeps no value of its last task's context variables alive, nor what the task raised."""
    workers = Workers("test", size=1)
    held: ContextVar[Held] = ContextVar("held")

    def submit(task: Callable[[], object]) -> tuple[weakref.ref[Held], Future[object]]:
        value = Held()
        held.set(value)
        return weakref.ref(value), workers.submit(task)

    gc.disable()
    try:
        for task in (lambda: 1, lambda: 1 / 0):
            seen, future = copy_context().run(submit, task)
            with suppress(ZeroDivisionError):
                future.result(WAIT)
            workers.submit(lambda: None).result(WAIT)
            del future
            assert seen() is None
    finally:
        gc.enable()


def test_a_pool_that_gets_no_thread_refuses_until_it_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool without any thread refuses while none can be started; with one, this one does all tasks."""

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    workers, ran = Workers("test", size=2), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(BusyError, match="no test thread can be started"):
            workers.submit(ran.set)
    assert workers.submit(lambda: 7).result(WAIT) == 7
    monkeypatch.setattr(threading.Thread, "start", fail)
    assert [workers.submit(lambda: 8).result(WAIT) for _ in range(3)] == [8, 8, 8]
    assert not ran.is_set()
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(WAIT)

    hung = workers.submit(hang)
    assert begun.wait(WAIT)
    workers.abandon(hung)
    with pytest.raises(BusyError):
        workers.submit(lambda: 9)
    go_on.set()
    hung.result(WAIT)


def test_calls_go_on_while_the_interpreter_ends() -> None:
    """A call made while the interpreter ends, when threads may no longer start, returns its function's answer."""
    program = """
import atexit, threading
from recallm import semantic_cache
from recallm.testing import FakeEmbedder
@semantic_cache(context={}, embedder=FakeEmbedder(), guards=(), verify=lambda *_: True)
def ask(prompt: str) -> str:
    return "an answer"
atexit.register(lambda: print(ask("a prompt"), ask("prompt a")))
threading.Thread(target=lambda: (threading.main_thread().join(), print(ask("another")))).start()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, "Traceback" in done.stderr) == ("an answer\nan answer an answer\n", False)


@pytest.mark.parametrize("before", ["", "ask('hi')"], ids=["first call", "later call"])
def test_the_last_finalizers_may_call(before: str) -> None:
    """A call by a finalizer that runs when all modules are cleared goes to the function, as no thread runs any more."""
    program = f"""
from recallm import ThreadSafeInMemoryStorage, semantic_cache
from recallm.testing import FakeEmbedder
class Disk(ThreadSafeInMemoryStorage):
    blocking = True
@semantic_cache(context={{}}, storage=Disk(), embedder=FakeEmbedder(), guards=(), version="1")
def ask(prompt: str) -> str:
    return "an answer"
class Agent:
    def __del__(self, ask=ask, print=print):
        print(ask("a prompt"))
agent = Agent()
{before}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, "Traceback" in done.stderr) == ("an answer\n", False)


def test_all_parts_of_a_cache_see_the_context_of_the_call() -> None:
    """A storage that blocks, an embedder and a verifier, which threads of a pool run, see the caller's context."""
    seen: dict[str, str] = {}

    class Storage(InMemoryStorage):
        blocking = True

        def search(self, *arguments: Any) -> Any:
            seen["storage"] = USER.get()
            return super().search(*arguments)

    class Embedder(FakeEmbedder):
        def embed(self, text: str) -> Any:
            seen["embedder"] = USER.get()
            return super().embed(text)

    def verify(*_: object) -> bool:
        seen["verifier"] = USER.get()
        return True

    @semantic_cache(context={}, storage=Storage(), embedder=Embedder(), guards=(), threshold=0.5, verify=verify)
    def ask(prompt: str) -> str:
        return prompt

    def ask_as(name: str) -> None:
        USER.set(name)
        ask(f"how do I return an order, {name}")

    ask("how do I return an order")
    for name in ("Ada", "Bob"):
        seen.clear()
        copy_context().run(ask_as, name)
        assert seen == {"storage": name, "embedder": name, "verifier": name}
