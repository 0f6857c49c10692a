"""``export``: writes the entries of a storage to a file of JSON lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from recallm.commands.entries import KEYS
from recallm.commands.exchange import line_of
from recallm.commands.finding import every_entry, namespaces
from recallm.commands.opening import add_storage, opened
from recallm.commands.output import Progress, note

if TYPE_CHECKING:
    import argparse


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "export",
        help="write entries to a file of JSON lines",
        description="Write entries to a file of JSON lines, prompts and answers in the clear, for its owner alone.",
    )
    add_storage(parser)
    parser.add_argument("file", metavar="FILE.jsonl", help="where to; - is the standard output")
    parser.add_argument("--namespace", metavar="NAME", help="only its entries")


def run(options: argparse.Namespace) -> int:
    """Write the entries; return 1 if there are none."""
    storage = opened(options)
    count, held = 0, sum(storage.sizes(namespaces(storage, options.namespace)).values())
    with _writing(options.file) as file:
        for candidate in every_entry(storage, options.namespace, Progress()):
            file.write(f"{line_of(candidate, time.time())}\n")
            count += 1
    note(f"{count} {'entry' if count == 1 else 'entries'} exported")
    if count < held:
        note(f"{held - count} were removed meanwhile, or cannot be read: {KEYS}")
    return 0 if count else 1


@contextmanager
def _writing(path: str) -> Iterator[TextIO]:
    """Open a file for its owner alone; it takes the place of one of its name once it is whole."""
    if path == "-":
        yield sys.stdout
        return
    target = Path(path)
    if target.exists() and not target.is_file():  # a pipe or a device
        with target.open("w", encoding="utf-8") as file:
            yield file
        return
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        part.touch(0o600, exist_ok=False)
        with part.open("w", encoding="utf-8") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
