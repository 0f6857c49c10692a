"""How often the judges of `recallm.judges` are mistaken about labelled pairs of answers.

False "same" is the share of pairs with different answers that a judge finds the same, false "different" the share of
right ones that it finds different. The rules were written, and their thresholds chosen, on the development half of
tests/data/answers.jsonl; only look at the kinds of that half if you change them.

    python tests/benchmarks/judges.py [--half dev | held-out] [--kinds] [--embedder offline-multilingual]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recallm.embedders.chosen import named_embedder
from recallm.judges import TextsAgree, equal_values
from recallm.telemetry.intervals import wilson

ANSWERS = Path(__file__).parents[1] / "data" / "answers.jsonl"

Row = dict[str, Any]
Judge = Callable[[str, object, object], bool]


def rows_of(half: str) -> list[Row]:
    """Return the labelled pairs of one half."""
    rows = [json.loads(line) for line in ANSWERS.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["split"] == half]


def mistakes(judge: Judge, rows: Sequence[Row]) -> list[Row]:
    """Return the pairs about which a judge is mistaken, asked in both directions, which have to agree."""
    mistaken = []
    for row in rows:
        verdict = judge(row["prompt"], row["a"], row["b"])
        assert verdict == judge(row["prompt"], row["b"], row["a"]), f"the order of the answers matters: {row}"
        if verdict != row["same"]:
            mistaken.append(row)
    return mistaken


def report(name: str, judge: Judge, rows: Sequence[Row], *, kinds: bool) -> None:
    """Print the shares of mistakes with 95 % intervals, the time of a judgement and, if wished, the kinds."""
    started = time.perf_counter()
    mistaken = mistakes(judge, rows)
    milliseconds = (time.perf_counter() - started) / (2 * len(rows)) * 1000
    print(f"{name}, {milliseconds:.1f} ms a pair")
    for same, title in ((False, 'false "same"'), (True, 'false "different"')):
        count, total = (sum(row["same"] is same for row in part) for part in (mistaken, rows))
        lower, upper = wilson(count, total)
        print(f"  {title:<18} {count:>3} of {total}: {count / total:.1%} [{lower:.1%}, {upper:.1%}]")
        if kinds:
            by_kind: defaultdict[str, Counter[bool]] = defaultdict(Counter)
            for row in rows:
                if row["same"] is same:
                    by_kind[row["kind"]][row in mistaken] += 1
            for kind, counts in sorted(by_kind.items(), key=lambda item: -item[1][True]):
                print(f"    {kind:<18} {counts[True]:>3} of {counts.total()}")


def main() -> None:
    """Judge the pairs of one half, or of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["dev", "held-out"], action="append")
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--embedder")
    parser.add_argument("--threshold", type=float)
    given = parser.parse_args()
    embedder = named_embedder(given.embedder) if given.embedder else None
    for half in given.half or ["dev", "held-out"]:
        print(f"\n{half}")
        rows = rows_of(half)
        report("texts_agree", TextsAgree(embedder, threshold=given.threshold), rows, kinds=given.kinds)
        report("equal_values", equal_values, rows, kinds=False)


if __name__ == "__main__":
    main()
