"""Which answers of language models a cache keeps: whole ones, and none that was cut off, refused, filtered, or failed.

Run with ``python tests/benchmarks/incomplete_answers.py``. Each answer of `support.answers` goes through a cached
function with the default ``store_if``: as the dict that a service sends, and, where the SDK is installed (dependency
group ``sdk``), as the object that the SDK makes of it and as that object's own dict. The program fails if one is kept
that is not whole, or not kept though it is. `tests/keying/test_completeness.py` asserts the same of the predicate.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.answers import ANSWERS, Answer, dumped

from recallm import InMemoryStorage, SemanticCache, is_complete
from recallm.config import CacheConfig

ABSENT = "not installed"


def seen(response: Any) -> str:
    """Return what a cache does with a response: ``"kept"``, ``"not kept"``, or that no codec takes it."""
    cache = SemanticCache(InMemoryStorage(), CacheConfig(threshold="exact"))
    cached = cache.wrap(lambda prompt: response, context={}, response_type=type(response))
    cached("a question")
    stats = cached.stats()
    if "codec" in stats.errors:
        return "complete, has no codec" if is_complete(response) else "not kept"
    return "kept" if stats.stored else "not kept"


def row(answer: Answer) -> dict[str, str]:
    """Return what a cache does with each form of an answer."""
    cells = {"dict": seen(answer.body), "object": ABSENT, "its dict": ABSENT}
    if importlib.util.find_spec(answer.package.partition(".")[0]) is not None:
        made = answer.read(answer.body)
        cells |= {"object": seen(made), "its dict": seen(dumped(made))}
    return cells


def main() -> None:
    """Print the table, and fail if a cell is not as wanted."""
    warnings.simplefilter("ignore")
    logging.getLogger("recallm").addHandler(logging.NullHandler())
    rows = [(answer, row(answer)) for answer in ANSWERS]
    lines = [["shape", "answer", "wanted", *rows[0][1]]]
    wrong = 0
    for answer, cells in rows:
        wanted = "kept" if answer.whole else "not kept"
        taken = {wanted, ABSENT, "complete, has no codec"} if answer.whole else {wanted, ABSENT}
        marked = [cell if cell in taken else f"! {cell}" for cell in cells.values()]
        wrong += sum(cell.startswith("!") for cell in marked)
        lines.append([answer.package, answer.name, wanted, *marked])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    absent = sorted({answer.package for answer, cells in rows if cells["object"] == ABSENT})
    print(f"\n{len(rows)} answers: {wrong} cells are not as wanted; not installed: {', '.join(absent) or 'nothing'}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
