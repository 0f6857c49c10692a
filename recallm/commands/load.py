"""``load``: stores what was exported as it is, or answers as those of a function's own calls."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from recallm.commands.exchange import NEWER, Exported, Logged, parsed
from recallm.commands.opening import add_storage, opened
from recallm.commands.output import Progress, add_json, note, print_json
from recallm.errors import InvalidValueError

if TYPE_CHECKING:
    import argparse

    from recallm.storage.base import StorageBackend

FAULTS_SHOWN = 5
"""How many bad lines are named."""

_DESCRIPTION = """\
Store the entries of an export as they are: calls find them if the function and the model are those that made them.
What the storage has got since an entry was exported stays. What is loaded is as old as its loading.

With --for, store answers as if calls of this function had just returned them: under its own keys, namespace, ttl and
model. So a log of questions and answers, {"prompt": ..., "response": ...}, warms a cache, and an export is embedded
anew for another model. "kwargs", in a line or as an option, gives the function's other arguments (and cache_context).
An exported entry does not tell the arguments it was made with. It is taken if the arguments given here are proved by
its partition: give the id of the model it was made with by --was, or name the partition by --partition.
"""


def add(subparsers: Any) -> None:
    """Declare the command."""
    from argparse import RawDescriptionHelpFormatter

    parser = subparsers.add_parser(
        "load",
        help="store the entries of an export, or answers from a log",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_storage(parser)
    parser.add_argument("file", metavar="FILE.jsonl", help="JSON lines; - is the standard input")
    parser.add_argument("--ttl", metavar="SECONDS", help="for entries that do not tell when they expire; or never")
    parser.add_argument("--for", dest="function", metavar="MODULE:FUNCTION", help="the cached function to store for")
    parser.add_argument("--kwargs", metavar="JSON", default="{}", help="arguments that all calls have, with --for")
    parser.add_argument("--make", metavar="MODULE:CALLABLE", help="makes the response of a log's JSON, with --for")
    parser.add_argument("--was", metavar="MODEL_ID", help="the model that exported entries were made with, with --for")
    parser.add_argument("--partition", metavar="DIGITS", help="exported entries of it were made so, with --for")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Store what the file holds; return 1 if not all of it could be."""
    storage = opened(options, creates=True)
    if options.function is not None:
        from recallm.commands.warming import Warming

        store: Any = Warming(storage, options).store
    elif lone := [f"--{name}" for name in ("make", "was", "partition") if getattr(options, name) is not None]:
        raise InvalidValueError(f"{lone[0]} goes with --for; name the function, or leave it out")
    else:
        store = _Verbatim(storage, _seconds(options.ttl)).store
    outcomes: Counter[str] = Counter()
    with _reading(options.file) as (file, total):
        for number, line in _lines(file, total):
            try:
                outcome: str = store(parsed(line))
            except InvalidValueError as error:
                outcome = "faulty"
                if outcomes[outcome] < FAULTS_SHOWN:
                    note(f"line {number} {error}")
            outcomes[outcome] += 1
    loaded, newer = outcomes.pop("loaded", 0), outcomes.pop(NEWER, 0)
    code = 0 if loaded + newer and not outcomes else 1
    if options.json:
        print_json({"loaded": loaded, "newer_kept": newer, "not_loaded": dict(outcomes)})
        return code
    kept = f", {newer} newer {'one' if newer == 1 else 'ones'} kept" if newer else ""
    print(f"{loaded} {'entry' if loaded == 1 else 'entries'} loaded{kept}")
    for outcome, count in outcomes.most_common():
        note(f"{count} not loaded: {outcome}")
    return code


class _Verbatim:
    """Stores exported entries as they are, for as long as they had left.

    Args:
        storage: where.
        ttl: seconds for entries that do not tell when they expire; None: those are not stored.
    """

    def __init__(self, storage: StorageBackend, ttl: float | None) -> None:
        self._storage = storage
        self._ttl = ttl

    def store(self, row: Exported | Logged) -> str:
        """Store one; return "loaded", `NEWER`, or why not."""
        if isinstance(row, Logged):
            raise InvalidValueError("is a question and its answer; name the function that it is for: --for")
        if row.expires_at is None and self._ttl is None:
            return "they do not tell when they expire; give --ttl"
        now, entry = time.time(), row.entry
        left = (self._ttl or math.inf) if row.expires_at is None else row.expires_at - now
        if left <= 0:
            return "expired"
        if entry.fresh_for is not None:
            # Its age begins anew here; what was kept for longer than it is served must not be served again.
            entry = entry._replace(fresh_for=entry.fresh_for - max(0.0, now - row.stored_at))
        if entry.tags and not self._storage.keeps_tags:
            return "they have tags, which the storage cannot keep"
        began, ttl = time.perf_counter(), None if left == math.inf else left
        candidate, epoch, *_ = self._storage.recall(entry.namespace, entry.key)
        if row.is_older_than(candidate, now):
            return NEWER
        if entry.tags:
            stored = self._storage.put_tagged(entry, epoch, ttl, began)
        else:
            stored = self._storage.put(entry, epoch, ttl)
        return "loaded" if stored.kept else "the namespace or a tag was invalidated meanwhile"


def _seconds(text: str | None) -> float | None:
    if text is None or text == "never":
        return None if text is None else math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidValueError(f"--ttl={text!r}; use seconds above 0, or never")
    return seconds


@contextmanager
def _reading(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file; its size in bytes comes with it, 0 if it is not known."""
    if path == "-":
        yield sys.stdin.buffer, 0
        return
    with Path(path).open("rb") as file:
        yield file, Path(path).stat().st_size


def _lines(file: BinaryIO, total: int) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    progress, done = Progress(), 0
    first = file.readline().removeprefix(b"\xef\xbb\xbf")
    for number, line in enumerate(chain([first], file), start=1):
        done += len(line)
        if total:
            progress("loading", min(done, total - 1) * 100 // total, 100)
        if line.strip():
            yield number, line.decode("utf-8", "replace")
    progress("loading", 1, 1)
