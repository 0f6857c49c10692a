"""Recordings: the pairs of prompts that look-ups compared, written to a file for labelling."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from recallm import checks
from recallm.concurrency.forking import ForkSafeLock, reset_after_fork
from recallm.concurrency.workers import Workers
from recallm.records import Compared
from recallm.telemetry.log import LOG

QUEUED = 1000
"""How many lines may wait to be written; more are dropped, so that a slow disk does not fill the memory."""

STOP_SECONDS = 5.0
"""How many seconds `Recording.stop` waits for the lines that are queued."""

_lock = ForkSafeLock()
_active: tuple[Recording, ...] = ()


def active_recordings() -> tuple[Recording, ...]:
    """Return the recordings under way."""
    return _active


class Recording:
    """A recording under way, made by `record`: a context manager, or ended by `stop`.

    Attributes:
        path: the file, absolute.
        written: lines written by this process.
        dropped: lines lost because the disk was too slow, or failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self.dropped = 0
        # Opened here, so that a path that cannot be written is the caller's error; made for its owner only.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        self._open = True
        self._lock = ForkSafeLock()
        self._writer = Workers("recallm-record", size=1)
        self.after_fork()
        reset_after_fork(self)
        # Started now: some versions of Python start no thread any more once the main thread has ended.
        with suppress(RuntimeError):
            self._writer.submit(lambda: None)
            self._has_writer = True

    def after_fork(self) -> None:
        """Begin with nothing to write and without a thread: what the parent has queued, the parent writes."""
        self._waiting = 0
        self._has_writer = False

    def __repr__(self) -> str:
        state = "recording" if self._open else "stopped"
        return f"<Recording to {str(self.path)!r}, {state}: {self.written} written, {self.dropped} dropped>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def enqueue(self, compared: Compared) -> None:
        """Have a line written soon, unless too many wait already; never raises and never waits for the disk."""
        try:
            with self._lock:
                if not self._open:
                    return
                if self._waiting >= QUEUED:
                    self.dropped += 1
                    return
                self._writer.submit(lambda: self._write(compared))
                self._waiting += 1
                self._has_writer = True
        except Exception:  # noqa: BLE001  # no thread to be had: the call goes on
            self.dropped += 1

    def stop(self) -> None:
        """End the recording once the queued lines are written; further calls do nothing."""
        _set_active(lambda active: tuple(each for each in active if each is not self))
        with self._lock:
            if not self._open:
                return
            self._open = False
        atexit.unregister(self.stop)
        if not self._has_writer:
            os.close(self._file)  # at exit, a thread that does not run yet could not be started any more
            return
        closing = self._writer.submit(lambda: os.close(self._file))
        self._writer.dismiss()
        # If the disk hangs, the writer is a daemon and keeps the file.
        with suppress(TimeoutError):
            closing.result(STOP_SECONDS)

    def _write(self, compared: Compared) -> None:
        with self._lock:
            self._waiting -= 1
        try:
            line = line_of(compared)
            # One write for each line: processes that share the file do not mix theirs.
            complete = os.write(self._file, line) == len(line)
        except Exception as error:  # noqa: BLE001  # a full disk costs lines and nothing else
            LOG.warn(("record", type(error).__name__), f"recording to a file failed with {type(error).__name__}")
            complete = False
        self.written += complete
        self.dropped += not complete


def line_of(compared: Compared) -> bytes:
    """Return one line of the file, its label left open."""
    line = {**asdict(compared), "same": None}
    try:
        return f"{json.dumps(line, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only escapes can carry
        return f"{json.dumps(line)}\n".encode()


def record(path: str | Path) -> Recording:
    """Write down, from now on, what prompts are compared with, in all caches of this process.

    Use it to collect pairs of your own traffic: put true or false in the place of ``null`` after ``"same"``
    (may the answer to ``cached_prompt`` be served for ``prompt``?) and hand the file to
    `recallm.evaluate` and `recallm.tune`. Lines that you leave alone are left out.

    Off until called, because the file holds prompts as they are: a new file is readable by its owner only.
    A call never waits for it: lines are written by a thread, and dropped and counted if it falls behind.

    Each call that is not answered by its very prompt gives a line with the candidate that was served, else
    with the most similar one, if its cosine is at least 0.7 (or the threshold, if that is lower):
    ``prompt``, ``cached_prompt``, ``similarity``, ``outcome`` ("hit" or "miss"), ``vetoed_by`` (the guard
    that refused it, "store_if", "verify", or null) and ``same``.

    Args:
        path: a JSONL file, which is appended to. A recording to the same file that is under way ends.

    Returns:
        The recording: a context manager, or ended by its ``stop()``, or by the end of the program.

    Raises:
        InvalidTypeError: `path` is neither str nor Path.
        InvalidValueError: it is blank.
        OSError: the file cannot be opened for writing.
    """
    absolute = checks.path(path, "path").absolute()
    for earlier in _active:
        if earlier.path == absolute:
            earlier.stop()
    recording = Recording(absolute)
    _set_active(lambda active: (*active, recording))
    atexit.register(recording.stop)
    return recording


def _set_active(change: Callable[[tuple[Recording, ...]], tuple[Recording, ...]]) -> None:
    global _active  # noqa: PLW0603  # the recordings of the process
    with _lock:
        _active = change(_active)
