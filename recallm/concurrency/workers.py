"""Daemon threads that run tasks which may hang, so that the caller can stop waiting for them.

The standard library's pool joins its threads at exit: one hung call would keep the program from ending.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

from recallm.concurrency.forking import reset_after_fork
from recallm.errors import BusyError

T = TypeVar("T")
Tasks: TypeAlias = queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
"""Tasks with their futures; None ends the thread that takes it."""


class Workers:
    """A pool of at most `size` threads, started as they are needed.

    Args:
        name: the threads' name.
        size: how many there may be.
    """

    def __init__(self, name: str, *, size: int) -> None:
        self._name = name
        self._size = size
        self.after_fork()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Begin without threads and tasks, as the parent's threads are not in the child."""
        self._lock = threading.Lock()
        self._tasks: Tasks = queue.SimpleQueue()
        self._threads = 0
        self._unfinished = 0
        self._abandoned = 0

    def submit(self, task: Callable[[], Any]) -> Future[Any]:
        """Run `task` in a thread.

        Raises:
            BusyError: every thread is stuck in a task that was abandoned.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._abandoned >= self._size:
                raise BusyError(f"all {self._size} {self._name} threads are stuck in operations that timed out")
            self._unfinished += 1
            if self._unfinished > self._threads and self._threads < self._size:
                threading.Thread(target=self._work, args=(self._tasks,), name=self._name, daemon=True).start()
                self._threads += 1
            self._tasks.put((future, task))
        return future

    def abandon(self, future: Future[Any]) -> None:
        """Stop waiting for a task: if it has not started it never will, else its thread is stuck until it ends."""
        if future.cancel() or future.done():
            return
        with self._lock:
            self._abandoned += 1
        future.add_done_callback(self._recovered)

    def dismiss(self) -> None:
        """Have the threads end once what was submitted is done; a task submitted later starts another thread."""
        with self._lock:
            for _ in range(self._threads):
                self._tasks.put(None)
            self._threads = 0

    def _recovered(self, _future: Future[Any]) -> None:
        with self._lock:
            self._abandoned -= 1

    def _work(self, tasks: Tasks) -> None:
        while (taken := tasks.get()) is not None:
            future, task = taken
            if future.set_running_or_notify_cancel():
                try:
                    result = task()
                except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                    future.set_exception(_trouble(error))
                else:
                    future.set_result(result)
                    del result
            with self._lock:
                self._unfinished -= 1
            # An idle thread must not keep the last task's objects alive.
            del future, task, taken


def _trouble(error: BaseException) -> Exception:
    """Return a task's exception as an `Exception`, so that one that would end a thread does not end its waiter's.

    Panics of Rust extensions are no `Exception`, and a cancellation within the task is not the waiter's.
    """
    if isinstance(error, Exception):
        return error
    trouble = RuntimeError(f"a worker's task ended with {type(error).__name__}")
    trouble.__cause__ = error
    return trouble


def follower(source: Future[T]) -> Future[T]:
    """Return a future of the same result, which its one waiter may cancel."""
    follows: Future[T] = Future()

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
