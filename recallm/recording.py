"""Prompts and what they were compared with, written down for labelling."""

from __future__ import annotations

import atexit
import json
import os
import queue
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from recallm import registry
from recallm.errors import InvalidTypeError, InvalidValueError
from recallm.events import LOG
from recallm.forking import ForkSafeLock
from recallm.records import Compared

QUEUED = 1000
"""How many lines may wait to be written; more are dropped."""

STOP_SECONDS = 5.0

_lock = ForkSafeLock()


class Recording:
    """A recording under way, made by `record`: a context manager, or ended by `stop`.

    Attributes:
        path: the file.
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
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = ForkSafeLock()
        self._queue: queue.Queue[Compared | None] = queue.Queue(QUEUED)
        self._writer = threading.Thread(target=self._write_all, args=(self._queue,), name="recallm-record", daemon=True)
        self._writer.start()

    def __repr__(self) -> str:
        state = "recording" if self._open else "stopped"
        return f"<Recording to {str(self.path)!r}, {state}: {self.written} written, {self.dropped} dropped>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def offer(self, compared: Compared) -> None:
        """Have a line written soon, unless too many wait already; never raises and never waits."""
        try:
            if self._process != os.getpid():
                self._begin()  # a forked child has the file but not the thread
            if self._open:
                self._queue.put_nowait(compared)
        except Exception:  # noqa: BLE001  # a full queue, or no thread to be had: the call goes on
            self.dropped += 1

    def stop(self) -> None:
        """End the recording, once what waits is written; further calls do nothing."""
        with _lock:
            registry.recordings = tuple(each for each in registry.recordings if each is not self)
        with self._lock:
            if not self._open:
                return
            self._open = False
        atexit.unregister(self.stop)
        if self._process != os.getpid():
            os.close(self._file)
            return
        try:
            self._queue.put(None, timeout=STOP_SECONDS)
        except queue.Full:
            return  # the disk hangs; the writer is a daemon and keeps the file
        self._writer.join(STOP_SECONDS)

    def _write_all(self, lines: queue.Queue[Compared | None]) -> None:
        while (compared := lines.get()) is not None:
            try:
                line = line_of(compared)
                # One write for each line: processes that share the file do not mix theirs.
                complete = os.write(self._file, line) == len(line)
            except Exception as error:  # noqa: BLE001  # a full disk must not end the thread
                LOG.say(("record", type(error).__name__), f"recording to a file failed with {type(error).__name__}")
                complete = False
            self.written += complete
            self.dropped += not complete
        os.close(self._file)


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
    A call never waits for it: lines are written by a thread, and dropped and counted where it falls behind.

    Each call that is not answered by its very prompt gives a line with the candidate that was served, else
    with the most similar one, where its cosine is at least 0.7 (or the threshold, if that is lower):
    ``prompt``, ``cached_prompt``, ``similarity``, ``outcome`` ("hit" or "miss"), ``vetoed_by`` (the guard
    that refused it, "verify", or null) and ``same``.

    Args:
        path: a JSONL file, which is appended to. A recording to the same file that is under way ends.

    Returns:
        The recording: a context manager, or ended by its ``stop()``, or by the end of the program.

    Raises:
        InvalidTypeError: `path` is neither str nor Path.
        InvalidValueError: it is blank.
        OSError: the file cannot be opened for writing.
    """
    if not isinstance(path, str | Path):
        raise InvalidTypeError(f"path={path!r} is a {type(path).__name__}; use a str or a Path")
    if not str(path).strip():
        raise InvalidValueError(f"path={path!r} is blank; use the path of a file")
    absolute = Path(path).absolute()
    for earlier in registry.recordings:
        if earlier.path == absolute:
            earlier.stop()
    recording = Recording(absolute)
    with _lock:
        registry.recordings = (*registry.recordings, recording)
    atexit.register(recording.stop)
    return recording
