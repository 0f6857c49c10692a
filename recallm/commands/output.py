"""What commands print: tables, JSON, a progress bar and one-line errors; never a terminal's control characters."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO
from unicodedata import combining, east_asian_width
from urllib.parse import unquote

if TYPE_CHECKING:
    import argparse

BAR_WIDTH = 30
"""Characters of the progress bar: with its labels it fits into a line of 80."""

REDRAWN_SECONDS = 0.05
"""How often the bar is drawn at the most."""

NARROWEST = 12
"""A table's last column gets so many characters at least, however narrow the terminal."""

_PASSWORD = re.compile(r"[^:/@]+://[^:/@]*:(.+)@")

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, whole and unshortened")


def print_json(value: object) -> None:
    """Print a value as JSON; what the output cannot show, or would obey, is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=not _shows_unicode(sys.stdout))
    print("".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Print a table whose last column is shortened to the width of the terminal; a file or a pipe gets it whole.

    Args:
        titles: the titles of the columns.
        rows: the cells.
        right: which columns are numbers, aligned at their right.
    """
    lines = [[printable(cell) for cell in row] for row in rows]
    widths = [max([len(title), *(_cells(line[place]) for line in lines)]) for place, title in enumerate(titles)]
    *others, _ = widths
    if (columns := _columns()) is not None:
        room = max(columns - sum(others) - 2 * len(others), NARROWEST)
        lines = [[*line[:-1], shortened(line[-1], room)] for line in lines]
        widths[-1] = min(widths[-1], room)
    aligned = set(right)

    def joined(line: Sequence[str]) -> str:
        padded = [
            " " * (width - _cells(cell)) + cell if place in aligned else cell + " " * (width - _cells(cell))
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    print(bold(joined(titles)))
    for line in lines:
        print(joined(line))


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print a line for each field: its name and its value."""
    pairs = list(fields)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{bold(name.ljust(width))}  {printable(value)}")


def note(text: str) -> None:
    """Print a remark beside the result, on standard error."""
    print(f"recallm: {text}", file=sys.stderr)


def bold(text: str) -> str:
    """Return a text in bold, unless the output is no terminal or ``NO_COLOR`` is set."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else f"\x1b[1m{text}\x1b[0m"


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text in which nothing moves a cursor or hides: what a storage holds may come from anybody.

    Args:
        text: any text.
        lines: whether line ends and tabs stay; else each is a space.

    >>> printable("red: \x1b[31m\nnext")
    'red: \\x1b[31m next'
    """
    kept = "\n\t" if lines else ""
    spaced = text if lines else text.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    shown = "".join(each if each.isprintable() or each in kept else _escaped(each) for each in spaced)
    return shown if _shows_unicode(sys.stdout) else shown.encode("ascii", "backslashreplace").decode()


def shortened(text: str, width: int) -> str:
    """Return a text of at most so many cells of a terminal, whose end says if there was more."""
    if _cells(text) <= width:
        return text
    end = "…" if _shows_unicode(sys.stdout) else "..."
    kept = ""
    for each in text:
        if _cells(kept + each) + len(end) > width:
            break
        kept += each
    return kept + end


def duration(seconds: float) -> str:
    """Return a duration in one or two units.

    >>> duration(45.2), duration(3700), duration(0.25)
    ('45 s', '1 h 1 min', '0.25 s')
    """
    if seconds < 1:
        return f"{seconds:.2g} s" if seconds >= 0.01 or not seconds else f"{1000 * seconds:.2g} ms"
    for place, (unit, name) in enumerate(_UNITS):
        if seconds >= unit:
            whole = f"{int(seconds // unit)} {name}"
            if place + 1 == len(_UNITS):
                return whole
            smaller, its_name = _UNITS[place + 1]
            rest = int(seconds % unit // smaller)
            return f"{whole} {rest} {its_name}" if rest else whole
    return "0 s"


def size(count: float) -> str:
    """Return a number of bytes with a unit.

    >>> size(512), size(2048), size(3_500_000)
    ('512 B', '2.0 kB', '3.5 MB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} B"


class Progress:
    """Draws a bar on a terminal, and nothing anywhere else. Called with a stage, what is done and the total."""

    def __init__(self) -> None:
        self._drawn = -REDRAWN_SECONDS

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Draw it, unless it was drawn just now; clear it once all is done."""
        if not sys.stderr.isatty():
            return
        if done >= total:
            clear(sys.stderr)
            return
        now = time.monotonic()
        if now - self._drawn < REDRAWN_SECONDS:
            return
        self._drawn = now
        filled = BAR_WIDTH * done // total
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        print(f"\r{stage:<10}[{bar}] {done}/{total}", end="", file=sys.stderr, flush=True)


def clear(stream: TextIO) -> None:
    """Clear the line on which a bar was drawn."""
    if stream.isatty():
        print("\r\x1b[K", end="", file=stream, flush=True)


def in_one_line(error: Exception, words: Iterable[str] = ()) -> str:
    """Return an error's message in one line, without the passwords of URLs among the words of the command."""
    message = str(error)
    if isinstance(error, OSError) and error.filename:
        message = f"{error.filename}: {error.strerror}"
    for word in words:
        message = without_password(message, word)
    return printable(" ".join(message.split()))


def without_password(text: str, url: str) -> str:
    """Return a text in which neither a URL nor its password stands, if it has one."""
    found = _PASSWORD.match(url)
    if found is None:
        return text
    password = found[1]
    return text.replace(url, "the URL").replace(password, "***").replace(unquote(password), "***")


def _columns() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(each) else 1 + (east_asian_width(each) in "WF") for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def _shows_unicode(stream: Any) -> bool:
    return (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "").startswith("utf")
