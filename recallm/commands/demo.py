"""``demo``: a cache at work on four questions, with a stand-in for a language model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from recallm.commands.embedding import add_embedder, named
from recallm.commands.output import print_table

if TYPE_CHECKING:
    import argparse

ANSWER_SECONDS = 0.3
"""As long as a fast language model takes."""

QUESTIONS = (
    "How do I enable two-factor sign-in?",
    "How can I enable two-factor sign-in?",
    "How do I disable two-factor sign-in?",
    "How do I enable two-factor sign-in?",
)
"""A question, the same in other words, one that only looks alike, and the first again."""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("demo", help="a cache at work on four questions")
    add_embedder(parser)


def run(options: argparse.Namespace) -> int:
    """Ask the questions and print what came of each."""
    from recallm.cache import SemanticCache
    from recallm.config import CacheConfig
    from recallm.storage.memory import ThreadSafeInMemoryStorage

    def answer(question: str) -> str:
        time.sleep(ANSWER_SECONDS)
        return f"(what a language model says to: {question})"

    config = CacheConfig(threshold="guarded")  # lower than the default, so that a guard is needed
    cache = SemanticCache(ThreadSafeInMemoryStorage(), config, embedder=named(options.embedder), name="demo")
    cached = cache.wrap(answer, context={})
    cached.warmup()
    rows = []
    for question in QUESTIONS:
        begun = time.perf_counter()
        why = cached.explain(question)  # embeds the question, which the call then need not
        cached(question)
        milliseconds = 1e3 * (time.perf_counter() - begun)
        cosine = "" if why.similarity is None else f"{why.similarity:.3f}"
        rows.append((why.outcome, why.vetoed_by or why.reason, cosine, f"{milliseconds:.1f} ms", question))
    print_table(("GOT", "BECAUSE", "SIMILARITY", "TOOK", "QUESTION"), rows, right=(2, 3))
    stats = cache.stats()
    print(f"\n{stats.hits} hits, {stats.misses} misses; {stats.saved_seconds:.1f} s of waiting saved")
    print("\nYour own function: @semantic_cache(context={}). More: python -m recallm --help")
    return 0
