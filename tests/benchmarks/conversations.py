"""Measures which answers conversations get by their whole history, by a similar one, and by the last message alone.

Run with ``python tests/benchmarks/conversations.py [FILE …]``; a file has a JSON object a line: ``one`` and ``other``,
two conversations as lists of texts, the user's first and last, and ``same``, whether one answer suits both. Hits are
the share of the pairs labelled the same that are served; wrong is the share of the served pairs that are look-alikes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recallm import InMemoryStorage, semantic_cache
from recallm.typing import PROFILES

DATA = Path(__file__).parents[1] / "data" / "conversations.jsonl"


class Conversations(NamedTuple):
    """Two conversations, and whether the answer to one suits the other."""

    one: list[dict[str, str]]
    other: list[dict[str, str]]
    same: bool


def messages(texts: Sequence[str]) -> list[dict[str, str]]:
    """Return a conversation as messages; the user begins."""
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


def conversations(path: Path = DATA) -> list[Conversations]:
    """Return the pairs of a file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Conversations(messages(row["one"]), messages(row["other"]), row["same"]) for row in rows]


def answer(messages: list[dict[str, str]]) -> str:
    """Answer."""
    return "an answer"


def last_text(arguments: Any) -> str:
    """Return the last message alone."""
    return str(arguments["messages"][-1]["content"])


MODES: dict[str, dict[str, Any]] = {
    "equal": {},
    "similar": {"history": "similar"},
    "last message only": {"prompt": last_text, "ignore": ("messages",)},
}


def cached_with(threshold: Any, options: dict[str, Any]) -> Any:
    """Return a cached function."""
    return semantic_cache(context={}, storage=InMemoryStorage(), threshold=threshold, **options)(answer)


def is_served(cached: Any, pair: Conversations) -> bool:
    """Return whether the answer to the first conversation is served to the second."""
    cached.clear()
    cached(pair.one)
    return bool(cached.explain(pair.other).outcome == "hit")


def shares(pairs: Sequence[Conversations], served: Sequence[bool]) -> tuple[int, int]:
    """Return how many pairs labelled the same are served, and how many look-alikes."""
    right = sum(pair.same for pair, was_served in zip(pairs, served, strict=True) if was_served)
    return right, sum(served) - right


def main() -> None:
    """Print the shares of each mode at each profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=[DATA])
    parser.add_argument("--list", action="store_true", help="list what is judged wrongly with a similar history")
    options = parser.parse_args()
    for path in options.files:
        pairs = conversations(path)
        alike = sum(pair.same for pair in pairs)
        print(f"{path.name}: {alike} pairs the same, {len(pairs) - alike} look-alikes")
        for profile in PROFILES:
            for mode, chosen in MODES.items():
                cached = cached_with(profile, chosen)
                served = [is_served(cached, pair) for pair in pairs]
                right, wrong = shares(pairs, served)
                all_served = right + wrong
                shown = f"hits {right / alike:6.1%}   wrong {wrong / max(1, all_served):6.1%}"
                print(f"  {profile:9} {mode:18} {shown} ({wrong} of {all_served})")
                if options.list and mode == "similar":
                    list_errors(cached, pairs, served)


def list_errors(cached: Any, pairs: Sequence[Conversations], served: Sequence[bool]) -> None:
    """Print what is judged wrongly, and what refused it."""
    for pair, was_served in zip(pairs, served, strict=True):
        if was_served != pair.same:
            is_served(cached, pair)
            explained = cached.explain(pair.other)
            texts = [message["content"] for message in pair.other]
            print(f"      {explained.outcome} {explained.similarity} {explained.vetoed_by} {texts}")


if __name__ == "__main__":
    main()
