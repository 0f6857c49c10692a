"""Recordings: the pairs of prompts that look-ups compared, written to a file for labelling."""

from __future__ import annotations

import atexit
import json
import os
import queue
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from recallm import checks
from recallm.concurrency.forking import reset_after_fork
from recallm.concurrency.workers import start
from recallm.records import Compared
from recallm.telemetry.journal import Journal
from recallm.telemetry.log import LOG

QUEUED = 1000
"""How many lines may wait to be written; more are dropped, so that a slow disk does not fill the memory."""

STOP_SECONDS = 5.0
"""How many seconds `Recording.stop` waits for the lines that are queued."""

_active: dict[Recording, None] = {}


def active_recordings() -> tuple[Recording, ...]:
    """Return the recordings under way."""
    return tuple(_active) if _active else ()


class Recording:
    """A recording under way, made by `record`: a context manager, or ended by `stop`.

    Attributes:
        path: the file, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Opened here, so that a path that cannot be written is the caller's error; made for its owner only.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        self._open = True
        self._ended: dict[str, object] = {}
        self._counts: Journal[tuple[int, int], tuple[int, int]] = Journal((0, 0), _sums)
        self.after_fork()
        reset_after_fork(self)
        # Started now: some versions of Python start no thread any more once the main thread has ended.
        with suppress(RuntimeError):
            self._has_writer()

    def after_fork(self) -> None:
        """Begin with nothing to write and without a thread: what the parent has queued, the parent writes."""
        self._lines: queue.SimpleQueue[Compared | None] = queue.SimpleQueue()
        self._writers: dict[str, threading.Thread] = {}

    @property
    def written(self) -> int:
        """Lines written by this process."""
        return self._counts.totals[0]

    @property
    def dropped(self) -> int:
        """Lines lost because the disk was too slow, or failed."""
        return self._counts.totals[1]

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
        if not self._open:
            return
        try:
            if self._lines.qsize() < QUEUED and self._has_writer():
                # A queue of C code: a signal handler or finalizer that strikes in a call of it may call it again.
                self._lines.put(compared)
                return
        except Exception:  # noqa: BLE001, S110  # no thread to be had: the call goes on
            pass
        self._counts.add((0, 1))

    def stop(self) -> None:
        """End the recording once the queued lines are written; further calls do nothing."""
        _active.pop(self, None)
        stopping = object()
        if self._ended.setdefault("stopping", stopping) is not stopping:
            return
        self._open = False
        self._lines.put(None)
        atexit.unregister(self.stop)
        writer = self._writers.get("writer")
        if writer is None:
            os.close(self._file)  # at exit, a thread that does not run yet could not be started any more
        elif writer is not threading.current_thread():
            # If the disk hangs, the writer is a daemon and keeps the file.
            writer.join(STOP_SECONDS)

    def _has_writer(self) -> bool:
        """Return True once a thread writes."""
        if not self._writers:
            writer = threading.Thread(target=self._work, args=(self._lines,), name="recallm-record", daemon=True)
            if self._writers.setdefault("writer", writer) is writer:
                try:
                    start(writer)
                except BaseException:
                    self._writers.clear()
                    raise
        return True

    def _work(self, lines: queue.SimpleQueue[Compared | None]) -> None:
        while (compared := lines.get()) is not None:
            self._write(compared)
        with suppress(queue.Empty):
            while True:  # what calls that were under way have put behind the end
                compared = lines.get_nowait()
                if compared is not None:
                    self._write(compared)
        os.close(self._file)

    def _write(self, compared: Compared) -> None:
        try:
            line = line_of(compared)
            # One write for each line: processes that share the file do not mix theirs.
            complete = os.write(self._file, line) == len(line)
        except Exception as error:  # noqa: BLE001  # a full disk costs lines and nothing else
            name = type(error).__name__
            LOG.warn(("record", name), f"recording to a file failed with {name}", stage="record", error=name)
            complete = False
        self._counts.add((int(complete), int(not complete)))


def _sums(counts: tuple[int, int], rows: list[tuple[int, int]]) -> tuple[int, int]:
    """Return what was written and what was dropped, with more of both."""
    return counts[0] + sum(written for written, _ in rows), counts[1] + sum(dropped for _, dropped in rows)


def line_of(compared: Compared) -> bytes:
    """Return one line of the file, its label left open if nobody has told."""
    line = asdict(compared)
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
    that refused it, "store_if", "verify", or null) and ``same``. That is false if ``wrong()`` of a cached function was
    told of the pair, and what ``same=`` found if the call was audited: it has its line once that is known.

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
    for earlier in active_recordings():
        if earlier.path == absolute:
            earlier.stop()
    recording = Recording(absolute)
    _active[recording] = None
    atexit.register(recording.stop)
    return recording
