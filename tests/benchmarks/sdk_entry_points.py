"""What a cache does around the methods by which vendors' SDKs are called, wrapped as they are.

Run with ``python tests/benchmarks/sdk_entry_points.py``, where the dependency group ``sdk`` is installed. The SDKs are
real and ask a server of this program, which answers no two requests alike. Each method is wrapped with
``cache.wrap(method, context={})``; if that is not as wanted and an option may help, once more with the option. The
program fails if a row is not as wanted both ways. `tests/behaviour/test_sdk_entry_points.py` asserts what is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import os
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.fake_vendors import FakeVendors, serving
from support.sdk_calls import COLUMNS, ROWS, Observed, missing, observe
from support.sdk_rows import OTHER_QUESTION, QUESTION, QUIET, REWORDED, Row

from recallm import FastEmbedEmbedder, InMemoryStorage, SemanticCache
from recallm.typing import EmbedderLike

ABSENT = "not installed"
REASON_LENGTH = 300


def import_times(rows: list[Row]) -> dict[str, float | None]:
    """Import each SDK of the rows, and return how long it took; None: it is not installed.

    What one SDK imports is there for the next.
    """
    times: dict[str, float | None] = {}
    for package in dict.fromkeys(row.package for row in rows):
        began = perf_counter()
        try:
            importlib.import_module(package)
            times[package] = perf_counter() - began
        except ImportError:
            times[package] = None
    return times


def check_questions(embedder: EmbedderLike) -> None:
    """Raise if a plain function would not be served for the rewording, or would be for the other question."""
    cached = SemanticCache(InMemoryStorage(), embedder=embedder).wrap(lambda prompt: f"about {prompt}", context={})
    cached(QUESTION)
    served = [cached.explain(prompt).outcome for prompt in (QUESTION, REWORDED, OTHER_QUESTION)]
    if served != ["hit", "hit", "miss"]:
        raise SystemExit(f"the questions do not suit the embedder: {served}")


def observed(row: Row, vendors: FakeVendors, embedder: EmbedderLike, runner: asyncio.Runner) -> list[Observed]:
    """Return what is seen of a row as it is and, if that is not as wanted, with its options."""
    if missing(row):
        return [Observed(row.name, cells={"exact": ABSENT})]
    found = [observe(row, vendors, embedder, runner, with_options=False)]
    if row.options and not found[0].is_as_wanted:
        found.append(observe(row, vendors, embedder, runner, with_options=True))
    return found


def print_table(found: list[Observed]) -> None:
    """Print a line for each observation, and below it what the cache says of what is not as wanted."""
    lines = [[each.name, each.options or "-", *(each.cells.get(name, "-") for name in COLUMNS)] for each in found]
    others = (f"other {name}" for name in COLUMNS[2:8])
    heads = ["entry point", "options needed", "exact", "similar", *others, "equal object", "stream", "returns"]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for line, each in zip([heads, *lines], [None, *found], strict=True):
        mark = "  " if each is None or each.is_as_wanted else "! "
        print(mark + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
    for each in found:
        if not each.is_as_wanted:
            print(f"{each.name} with {each.options or 'no options'}:")
            for reason in each.reasons:
                print(f"    {reason[:REASON_LENGTH]}")


def main() -> None:
    """Print the table, or JSON, and fail if a row is not as wanted."""
    began = perf_counter()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--row", default="", help="only rows whose name contains this")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    os.environ.update(QUIET)
    logging.getLogger("recallm").addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    rows = [row for row in ROWS if options.row in row.name]
    times = import_times(rows)
    embedder = FastEmbedEmbedder.offline()
    check_questions(embedder)
    with serving() as vendors, asyncio.Runner() as runner:
        found = {row.name: observed(row, vendors, embedder, runner) for row in rows}
    absent = sum(seen[0].cells["exact"] == ABSENT for seen in found.values())
    failed = [name for name, seen in found.items() if not seen[-1].is_as_wanted]
    if options.json:
        print(json.dumps({name: _as_json(seen) for name, seen in found.items()}))
        return
    print_table([each for seen in found.values() for each in seen])
    print("\nimported in this order: " + ", ".join(
        f"{package} " + ("not installed" if seconds is None else f"{seconds:.1f} s")
        for package, seconds in times.items()
    ))  # fmt: skip
    total = perf_counter() - began
    plain = sum(len(seen) == 1 and seen[0].is_as_wanted for seen in found.values()) - absent
    helped = len(rows) - len(failed) - plain - absent
    print(
        f"{len(rows)} rows: {plain} are as wanted as they are, {helped} with an option, "
        f"{len(failed)} are not, {absent} are not installed; {total:.0f} s in all"
    )
    raise SystemExit(1 if failed else 0)


def _as_json(seen: list[Observed]) -> dict[str, Any]:
    return {"as_wanted": seen[-1].is_as_wanted, "seen": [asdict(each) for each in seen]}


if __name__ == "__main__":
    main()
