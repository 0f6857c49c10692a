"""``tune``: the threshold with the most hits that labelled pairs of prompts prove safe enough."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recallm.commands.embedding import named
from recallm.commands.evaluate import add_pairs
from recallm.commands.output import Progress, print_json

if TYPE_CHECKING:
    import argparse


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("tune", help="the threshold with the most hits that is safe enough")
    add_pairs(parser)
    parser.add_argument("--max-wrong", type=float, default=0.01, metavar="SHARE", help="target, 0.01 if not given")
    parser.add_argument("--of", choices=("hits", "look-alikes"), default="hits", help="what SHARE is a share of")
    parser.add_argument("--confidence", type=float, default=0.95, metavar="SHARE", help="0.95 if not given")


def run(options: argparse.Namespace) -> int:
    """Print the threshold; return 1 if none is safe enough."""
    from recallm.evaluation.tune import tune
    from recallm.guards.default import DEFAULT_GUARDS

    tuning = tune(
        options.pairs,
        max_wrong=options.max_wrong,
        of=options.of,
        confidence=options.confidence,
        embedder=named(options.embedder),
        guards=() if options.no_guards else DEFAULT_GUARDS,
        progress=Progress(),
    )
    if options.json:
        print_json({**asdict(tuning), "line": tuning.line})
    else:
        print(tuning)
    return 1 if tuning.threshold is None else 0
