"""Daemon threads that run tasks which may hang, so that the caller can stop waiting for them.

The standard library's pool joins its threads at exit: one hung call would keep the program from ending.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

from recallm.concurrency.forking import reset_after_fork
from recallm.errors import BusyError, as_trouble

T = TypeVar("T")


class _Condition(threading.Condition):
    """A condition that no interrupt leaves held: see `recallm.concurrency.forking.ForkSafeLock`."""

    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))


class Result(Future[T]):
    """A future that a thread can set whenever its waiter was interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = _Condition()


class _Task(NamedTuple):
    """What a thread is to run.

    Attributes:
        future: gets the result.
        context: the context variables of the submitter, which the function sees.
        function: a callable without arguments.
    """

    future: Future[Any]
    context: Context
    function: Callable[[], Any]


Tasks: TypeAlias = "queue.SimpleQueue[_Task | None]"
"""Tasks that wait for a thread; None ends the threads, each of which passes it on."""


class Workers:
    """A pool of at most `size` threads, started as they are needed.

    They end once the pool is garbage and what was submitted is done. If gevent or eventlet has made the program's
    threads green, so are these, even if the pool was made, or used, before.

    Args:
        name: the threads' name.
        size: how many there may be.
    """

    def __init__(self, name: str, *, size: int) -> None:
        self._name = name
        self._size = size
        reset_after_fork(self)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():
            self.dismiss()

    def after_fork(self) -> None:
        """Begin without threads and tasks, as the parent's threads are not in the child."""
        vars(self).pop("_crew", None)

    def submit(self, task: Callable[[], Any]) -> Future[Any]:
        """Run `task` in a thread, in a copy of this call's context.

        Raises:
            BusyError: every thread is stuck in a task that was abandoned, there is none and none can be started, or the
                program is ending.
        """
        while True:
            crew = self._current_crew()
            future = crew.submit(task)
            # A signal handler may have forked, or another thread dismissed the crew, before it got the task.
            if crew is vars(self).get("_crew") or not future.cancel():
                return future

    def abandon(self, future: Future[Any], *, patience: float = 0.0) -> None:
        """Stop waiting for a task: if it has not started it never will, else its thread is stuck until it ends.

        Args:
            future: what `submit` returned.
            patience: seconds for which the thread is not taken for stuck yet: a waiter that was called away tells
                nothing about the task.
        """
        crew = vars(self).get("_crew")
        if not future.cancel() and crew is not None:
            crew.abandon(future, patience)

    def dismiss(self) -> None:
        """Have the threads end once what was submitted is done; a task submitted later starts another thread."""
        crew = vars(self).pop("_crew", None)
        if crew is not None:
            crew.tasks.put(None)

    def _current_crew(self) -> _Crew:
        crew: _Crew | None = vars(self).get("_crew")
        if crew is not None and crew.lock_type is not threading.Lock:
            # Its threads are real and those of the program are green by now: they would wait for each other in vain.
            vars(self).pop("_crew", None)
            crew = None
        return vars(self).setdefault("_crew", _Crew(self._name, self._size)) if crew is None else crew


class _Crew:
    """The threads of a pool and their tasks. They do not know the pool, so that it can become garbage.

    Nothing is counted or locked: how many threads there are, and which tasks, is told by sets that change by single
    operations, each of which may be missing. So an exception that a signal handler raises leaves nothing wrong for
    long, and a finalizer may submit a task while its thread is submitting another.

    Args:
        name: the threads' name.
        size: how many there may be.
    """

    def __init__(self, name: str, size: int) -> None:
        self.lock_type = threading.Lock
        self.tasks = _task_queue()
        self._name = name
        self._size = size
        # A thread takes a place when it begins, so that no more than `size` work however many were started.
        self._places = deque([None] * size)
        self._unfinished: set[Future[Any]] = set()
        # Each with the time from which on its thread is taken for stuck.
        self._abandoned: dict[Future[Any], float] = {}

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run a function in a thread. Raises `BusyError` as `Workers.submit`."""
        if sys.is_finalizing():
            raise BusyError("the program is ending, and runs no other threads any more")
        if self._stuck_threads() >= self._size:
            raise BusyError(f"all {self._size} {self._name} threads are stuck in operations that timed out")
        future: Future[Any] = Result()
        try:
            self._unfinished.add(future)
            self.tasks.put(_Task(future, copy_context(), function))
            self._start_thread_if_needed()
        except BaseException:
            if future.cancel():
                self._unfinished.discard(future)
            raise
        return future

    def abandon(self, future: Future[Any], patience: float) -> None:
        """Count a thread as stuck, after some seconds, until it has finished the task of this future."""
        self._abandoned[future] = time.monotonic() + patience
        if future not in self._unfinished:
            self._abandoned.pop(future, None)

    def _threads(self) -> int:
        return self._size - len(self._places)

    def _stuck_threads(self) -> int:
        if not self._abandoned:
            return 0
        now = time.monotonic()
        return sum(since <= now and future in self._unfinished for future, since in self._abandoned.copy().items())

    def _start_thread_if_needed(self) -> None:
        """Start a thread if there are more tasks than threads, and a place for it.

        Raises:
            BusyError: the system has no room for a thread, or the program is ending, and no other comes to the task.
        """
        if not self._places or len(self._unfinished) <= self._threads():
            return
        try:
            start(threading.Thread(target=self._work, name=self._name, daemon=True))
        except RuntimeError as error:
            if self._threads() <= self._stuck_threads():
                raise BusyError(f"no {self._name} thread can be started") from error

    def _work(self) -> None:
        try:
            self._places.pop()
        except IndexError:  # several threads were started at the same moment
            return
        try:
            while (task := self.tasks.get()) is not None:
                self._perform(task)
                # An idle thread must not keep the last task's objects alive.
                del task
            self.tasks.put(None)
        finally:
            self._places.append(None)

    def _perform(self, task: _Task) -> None:
        future = task.future
        try:
            if future.set_running_or_notify_cancel():
                try:
                    result = task.context.run(task.function)
                except BaseException as error:  # noqa: BLE001  # handed to whoever waits, whom it does not end
                    future.set_exception(as_trouble(error))
                else:
                    future.set_result(result)
        finally:
            self._unfinished.discard(future)
            self._abandoned.pop(future, None)
            # The exception refers to this frame, which must not refer to the exception.
            del future, task


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        RuntimeError: the system has no room for it, or the program is ending; before 3.12, Python would wait for ever.
    """
    if sys.is_finalizing():
        raise RuntimeError("can't create new thread at interpreter shutdown")
    thread.start()


def _task_queue() -> Tasks:
    """Return a queue that keeps waiting threads of the program's present kind, real or green, from running others."""
    if type(threading.Lock()).__module__ == "_thread":
        from _queue import SimpleQueue

        return SimpleQueue()
    # gevent brings its own queue, unless it was told to leave queues alone.
    if queue.SimpleQueue.__module__ == "_queue":
        return queue._PySimpleQueue()  # type: ignore[attr-defined, no-any-return]
    return queue.SimpleQueue()


def follower(source: Future[T]) -> Future[T]:
    """Return a future of the same result, which its one waiter may cancel."""
    follows: Future[T] = Result()

    def follow(done: Future[T]) -> None:
        if not follows.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is None:
            follows.set_result(done.result())
        else:
            follows.set_exception(error)

    source.add_done_callback(follow)
    return follows
