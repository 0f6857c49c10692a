"""``evaluate``: what each threshold serves of labelled pairs of prompts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recallm.commands.embedding import add_embedder, named, threshold
from recallm.commands.output import Progress, add_json, print_json

if TYPE_CHECKING:
    import argparse


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("evaluate", help="table of hit rate, precision and wrong rate over thresholds")
    add_pairs(parser)
    parser.add_argument("--at", metavar="THRESHOLD", default="balanced", help="where kinds and guards are counted")
    parser.add_argument("--plot", metavar="FILE", help='draw the trade-off (needs "recallm[plot]")')


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from recallm.evaluation.evaluate import evaluate
    from recallm.guards.default import DEFAULT_GUARDS

    evaluation = evaluate(
        options.pairs,
        embedder=named(options.embedder),
        guards=() if options.no_guards else DEFAULT_GUARDS,
        at=threshold(options.at, "--at"),
        progress=Progress(),
    )
    if options.plot is not None:
        from recallm.evaluation.plot import plot

        plot(evaluation, options.plot)
    if options.json:
        print_json(asdict(evaluation))
    else:
        print(evaluation)
    return 0


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Declare what both measuring commands take."""
    parser.add_argument("pairs", help='JSONL file: {"a": ..., "b": ..., "same": true or false} and perhaps "kind"')
    add_embedder(parser)
    parser.add_argument("--no-guards", action="store_true", help="leave the guards out")
    add_json(parser)
