"""Measures how often a prompt is served the answer to the same prompt without a form, time or manner.

Run with ``python tests/benchmarks/appended_words.py tests/data/pairs_dev.jsonl``. Each phrase is put before and after
each prompt of a sample; the pair is a look-alike, as who adds "as a table" wants another answer. The lists were written
with `SEEN` in view; `HELD_OUT` shows what they are worth for phrases that nobody had in mind.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from recallm import DEFAULT_GUARDS
from recallm.evaluation.judge import embedded
from recallm.evaluation.pairs import labelled
from recallm.registry import default_embedder
from recallm.scoring import similarity
from recallm.typing import PROFILES

SEEN = (
    "in detail", "today", "with an example", "briefly", "step by step", "now sarcastically", "in French",
    "as a table", "as JSON", "in one sentence", "for a five-year-old", "in bullet points", "in 100 words",
    "like a pirate", "formally", "with sources", "without code", "this year", "right now", "latest", "as of 2023",
    "in simple terms", "ELI5", "only the answer", "yes or no", "in short", "at the moment", "tonight",
    "for beginners", "in Spanish", "as a poem", "this week", "at length", "as an essay", "in layman's terms",
    "with references", "tomorrow", "last month", "as a numbered list", "in markdown", "without jargon",
    "with pros and cons", "in two paragraphs", "as a haiku", "politely", "since January", "for an expert",
    "in the style of Hemingway", "off the top of your head", "word for word", "before Friday",
    "over the next decade", "in plain English", "so a child can follow", "as a tweet", "with a diagram",
    "humorously", "as if I were a doctor", "no explanation", "in Mandarin", "under 50 words", "one word",
    "in more depth", "these days",
)  # fmt: skip
HELD_OUT = (
    "in iambic pentameter", "with footnotes", "as a dialogue", "using emojis", "in American English",
    "for my grandmother", "like a news anchor", "with a summary at the end", "as an outline", "in two columns",
    "in third person", "since the pandemic", "during the holidays", "ahead of the election", "in reverse order",
    "in alphabetical order", "without emojis", "no more than five lines", "to the tune of a nursery rhyme",
    "for a job interview", "in Shakespearean English", "with emphasis on safety", "from a lawyer's point of view",
    "at a high level", "by Friday noon", "in the coming days", "as recently as possible", "make a checklist",
    "as a mind map", "with worked examples", "respectfully", "one idea per line",
)  # fmt: skip
"""Phrases that were written down when the lists and rules were done."""

MOST_PROMPTS = 40


class Appended(NamedTuple):
    """A phrase added to a prompt, the cosine of both, and whether the guards let the pair pass."""

    phrase: str
    cosine: float
    passed: bool


def with_phrase(prompt: str, phrase: str) -> Iterator[str]:
    """Yield a prompt with a phrase behind it, before its last sign, and in front of it."""
    body = prompt.rstrip("?.! ")
    sign = prompt[len(body) :].strip()
    yield f"{body} {phrase}{sign}"
    yield f"{phrase[0].upper()}{phrase[1:]}, {prompt[0].lower()}{prompt[1:]}"


def prompts_of(path: Path) -> list[str]:
    """Return a sample of the short prompts of a file, spread over it."""
    prompts = sorted({pair.a for pair in labelled(path).pairs if 4 <= len(pair.a.split()) <= 20})
    return prompts[:: max(1, len(prompts) // MOST_PROMPTS)][:MOST_PROMPTS]


def appended(prompts: Sequence[str], phrases: Sequence[str]) -> list[Appended]:
    """Return each prompt beside itself with each phrase."""
    pairs = [
        (phrase, prompt, other) for phrase in phrases for prompt in prompts for other in with_phrase(prompt, phrase)
    ]
    vectors = embedded(list({text for _, *texts in pairs for text in texts}), default_embedder())
    found = []
    for phrase, prompt, other in pairs:
        a, b = vectors[prompt], vectors[other]
        if a is not None and b is not None:
            passed = all(guard(other, prompt) for guard in DEFAULT_GUARDS)
            found.append(Appended(phrase, similarity(a, b), passed))
    return found


def share(rows: Sequence[Appended], threshold: float, *, guarded: bool) -> float:
    """Return the share of the pairs that are served at a threshold."""
    return fmean(row.cosine >= threshold and (row.passed or not guarded) for row in rows)


def report(name: str, rows: Sequence[Appended]) -> None:
    """Print the share served at each profile, and the phrases that are served most."""
    shares = (
        f"{profile} {share(rows, threshold, guarded=True):.1%} (bare {share(rows, threshold, guarded=False):.1%})"
        for profile, threshold in PROFILES.items()
    )
    print(f"{name}: served {', '.join(shares)}")
    for phrase in dict.fromkeys(row.phrase for row in rows):
        own = [row for row in rows if row.phrase == phrase]
        loose = share(own, min(PROFILES.values()), guarded=True)
        if loose > 0:
            print(f"    {phrase}: {loose:.0%}")


def main() -> None:
    """Report on both halves of the phrases, for the prompts of each file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        prompts = prompts_of(path)
        print(f"{path.name}: {len(prompts)} prompts")
        report("seen phrases", appended(prompts, SEEN))
        report("held-out phrases", appended(prompts, HELD_OUT))


if __name__ == "__main__":
    main()
