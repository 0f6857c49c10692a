"""The command line: ``python -m recallm evaluate pairs.jsonl``, ``python -m recallm tune pairs.jsonl``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from recallm import checks
from recallm.errors import RecallmError

if TYPE_CHECKING:
    from recallm.evaluation.evaluate import Evaluation
    from recallm.evaluation.tune import Tuning
    from recallm.typing import EmbedderLike, Profile

BAR_WIDTH = 30
"""Characters of the progress bar: with its labels it fits into a line of 80."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows ``python -m recallm``; None: the program's own.

    Returns:
        The exit code: 0; 1 if `tune` found no threshold; 2 after an error, which is printed in one line; 130 after an
        interrupt, as shells expect.
    """
    options = _parser().parse_args(arguments)
    try:
        # Printed at the end, when the progress bar is gone.
        result = _tune(options) if options.command == "tune" else _evaluate(options)
    except (RecallmError, OSError, ValueError) as error:
        _clear(sys.stderr)
        print(f"recallm: error: {_in_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        _clear(sys.stderr)
        return 130
    print(result)
    return 1 if getattr(result, "threshold", 0.0) is None else 0


def _in_one_line(error: Exception) -> str:
    message = str(error)
    if isinstance(error, OSError) and error.filename:
        message = f"{error.filename}: {error.strerror}"
    return " ".join(message.split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recallm", description="Measure a semantic cache on labelled pairs of prompts."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("pairs", help='JSONL file: {"a": ..., "b": ..., "same": true or false} and perhaps "kind"')
    shared.add_argument("--embedder", metavar="NAME", help='"offline", or a FastEmbed model; else the default')
    shared.add_argument("--no-guards", action="store_true", help="leave the guards out")
    evaluate = commands.add_parser(
        "evaluate", parents=[shared], help="table of hit rate, precision and wrong rate over thresholds"
    )
    evaluate.add_argument("--at", metavar="THRESHOLD", default="balanced", help="where kinds and guards are counted")
    evaluate.add_argument("--plot", metavar="FILE", help='draw the trade-off (needs "recallm[plot]")')
    tune = commands.add_parser("tune", parents=[shared], help="the threshold with the most hits that is safe enough")
    tune.add_argument("--max-wrong", type=float, default=0.01, metavar="SHARE", help="target, 0.01 if not given")
    tune.add_argument("--of", choices=("hits", "look-alikes"), default="hits", help="what SHARE is a share of")
    tune.add_argument("--confidence", type=float, default=0.95, metavar="SHARE", help="0.95 if not given")
    return parser


def _evaluate(options: argparse.Namespace) -> Evaluation:
    from recallm.evaluation.evaluate import evaluate
    from recallm.guards.default import DEFAULT_GUARDS

    evaluation = evaluate(
        options.pairs,
        embedder=_embedder(options.embedder),
        guards=() if options.no_guards else DEFAULT_GUARDS,
        at=_threshold(options.at),
        progress=_progress,
    )
    if options.plot is not None:
        from recallm.evaluation.plot import plot

        plot(evaluation, options.plot)
    return evaluation


def _tune(options: argparse.Namespace) -> Tuning:
    from recallm.evaluation.tune import tune
    from recallm.guards.default import DEFAULT_GUARDS

    return tune(
        options.pairs,
        max_wrong=options.max_wrong,
        of=options.of,
        confidence=options.confidence,
        embedder=_embedder(options.embedder),
        guards=() if options.no_guards else DEFAULT_GUARDS,
        progress=_progress,
    )


def _embedder(name: str | None) -> EmbedderLike | None:
    if name is None:
        return None
    from recallm.embedders.fastembed import named_embedder

    return named_embedder(name)


def _threshold(text: str) -> Profile | float:
    try:
        return float(text)
    except ValueError:
        return checks.profile_or_cosine(text, "--at")


def _progress(stage: str, done: int, total: int) -> None:
    """Draw a bar on a terminal, and nothing anywhere else."""
    if not sys.stderr.isatty():
        return
    if done >= total:
        _clear(sys.stderr)
        return
    filled = BAR_WIDTH * done // total
    bar = "#" * filled + "." * (BAR_WIDTH - filled)
    print(f"\r{stage:<10}[{bar}] {done}/{total}", end="", file=sys.stderr, flush=True)


def _clear(stream: TextIO) -> None:
    if stream.isatty():
        print("\r\x1b[K", end="", file=stream, flush=True)


if __name__ == "__main__":
    sys.exit(main())
