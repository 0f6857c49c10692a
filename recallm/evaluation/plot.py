"""The trade-off between hits and wrong answers, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recallm.errors import MissingExtraError

if TYPE_CHECKING:
    from recallm.evaluation.evaluate import Evaluation


def plot(evaluation: Evaluation, path: str | Path) -> None:
    """Draw hit rate over wrong rate, with a point for each threshold, without guards and with them.

    Args:
        evaluation: what to draw; thresholds without hits have no wrong rate and no point.
        path: the file to write; its ending chooses the format: .png, .svg, .pdf …

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: matplotlib does not know the ending.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError('a plot needs matplotlib; pip install "recallm[plot]"') from None
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    curves = {"without guards": [(row.threshold, row.bare) for row in evaluation.rows]}
    if evaluation.guards:
        curves["with guards"] = [(row.threshold, row.guarded) for row in evaluation.rows]
    for label, rows in curves.items():
        points = [
            (100 * counts.wrong_rate, 100 * counts.hit_rate, threshold)
            for threshold, counts in rows
            if counts.wrong_rate is not None and counts.hit_rate is not None
        ]
        axes.plot([wrong for wrong, _, _ in points], [hits for _, hits, _ in points], marker="o", label=label)
        for wrong, hits, threshold in points:
            axes.annotate(f"{threshold:g}", (wrong, hits), textcoords="offset points", xytext=(5, -9), fontsize=7)
    axes.set_xlabel("wrong rate: % of the hits")
    axes.set_ylabel("hit rate: % of the same pairs")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path)
