"""Finds a model's own thresholds: those at which it serves as many look-alikes as all-MiniLM-L6-v2 at the profiles.

Run with ``python tests/benchmarks/calibrate_profiles.py FILES`` on files of labelled pairs, and ``--embedder NAME`` for
another model than that of the extra ``offline-multilingual``. Each file counts as much as any other. Cosines of two
models do not compare, so a threshold of one means nothing to another; the look-alikes that are served do. Guards are
left out of the calibration: they refuse the same pairs whatever the model. For each file the hits of both models are
printed: the most at any threshold that serves at most 1 % of the look-alikes, and those at the profiles.
"""

from __future__ import annotations

import argparse
import bisect
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from recallm import DEFAULT_GUARDS
from recallm.embedders.chosen import named_embedder
from recallm.embedders.managed import ManagedEmbedder
from recallm.evaluation.judge import embedded
from recallm.evaluation.pairs import labelled
from recallm.scoring import similarity
from recallm.typing import PROFILES

REFERENCE = "offline"
MOST_LOOK_ALIKES = 0.01
GRID = [step / 1000 for step in range(400, 1001)]


class Scored(NamedTuple):
    """A labelled pair: whether it has one answer, its cosine, and whether all guards let it pass."""

    same: bool
    cosine: float
    passes: bool


class Served(NamedTuple):
    """The shares of same pairs and of look-alikes that are served."""

    hits: float
    look_alikes: float


def scored(path: Path, embedder: ManagedEmbedder) -> list[Scored]:
    """Return the pairs of a file; one that the model does not represent is never served, as if it had no likeness."""
    pairs = labelled(path).pairs
    vectors = embedded(list({text for pair in pairs for text in (pair.a, pair.b)}), embedder)
    rows = []
    for pair in pairs:
        a, b = vectors[pair.a], vectors[pair.b]
        cosine = -1.0 if a is None or b is None else similarity(a, b)
        rows.append(Scored(pair.same, cosine, all(guard(pair.a, pair.b) for guard in DEFAULT_GUARDS)))
    return rows


def served(rows: Sequence[Scored], threshold: float, *, guarded: bool) -> Served:
    """Return what is served at a threshold."""
    passed = [row.same for row in rows if row.cosine >= threshold and (row.passes or not guarded)]
    same = sum(row.same for row in rows)
    return Served(sum(passed) / max(1, same), (len(passed) - sum(passed)) / max(1, len(rows) - same))


def look_alikes(files: Sequence[Sequence[Scored]], threshold: float) -> float:
    """Return the share of look-alikes that a threshold serves without guards, as a mean over files."""
    return fmean(served(rows, threshold, guarded=False).look_alikes for rows in files)


def equal_threshold(share: float, files: Sequence[Sequence[Scored]]) -> float:
    """Return the least threshold that serves no more than a share of the look-alikes."""
    return GRID[min(bisect.bisect_left(GRID, -share, key=lambda each: -look_alikes(files, each)), len(GRID) - 1)]


def most_hits(rows: Sequence[Scored], *, guarded: bool) -> str:
    """Return the most hits at any threshold of `GRID` that serves at most `MOST_LOOK_ALIKES` of the look-alikes."""
    found = [(served(rows, threshold, guarded=guarded), threshold) for threshold in GRID]
    good = [(row.hits, threshold) for row, threshold in found if row.look_alikes <= MOST_LOOK_ALIKES]
    hits, threshold = max(good, default=(0.0, 1.0))  # look-alikes that differ in case alone may have a cosine of 1
    return f"{100 * hits:5.1f} @{threshold:.3f}"


def report(path: Path, name: str, rows: Sequence[Scored], thresholds: Sequence[float]) -> None:
    """Print what one model serves of one file."""
    best = f"bare {most_hits(rows, guarded=False)}  guarded {most_hits(rows, guarded=True)}"
    at = [served(rows, threshold, guarded=True) for threshold in thresholds]
    profiles = "  ".join(f"{100 * each.hits:4.1f}/{100 * each.look_alikes:4.1f}" for each in at)
    print(f"{path.stem[:20]:<20} {name[:22]:<22} {best}  | {profiles}", flush=True)


def main() -> None:
    """Print the thresholds, and what both models serve of each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--embedder", default="offline-multilingual")
    options = parser.parse_args()
    by_model = {
        name: [scored(path, ManagedEmbedder(named_embedder(name))) for path in options.files]
        for name in (REFERENCE, options.embedder)
    }
    shares = {profile: look_alikes(by_model[REFERENCE], cosine) for profile, cosine in PROFILES.items()}
    own = {profile: equal_threshold(share, by_model[options.embedder]) for profile, share in shares.items()}
    for profile, share in shares.items():
        print(f"{profile}: {PROFILES[profile]} serves {share:.2%} of the look-alikes, {own[profile]:.3f} as many")
    print(f"\n% hits at <= {MOST_LOOK_ALIKES:.0%} look-alikes | guarded hits/look-alikes at {', '.join(PROFILES)}")
    for place, path in enumerate(options.files):
        report(path, REFERENCE, by_model[REFERENCE][place], list(PROFILES.values()))
        report(path, options.embedder, by_model[options.embedder][place], list(own.values()))


if __name__ == "__main__":
    main()
