"""The trade-off between hits and wrong answers, drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from support.angles import Angles

from recallm import Pair, evaluate
from recallm.evaluation.plot import plot

pytestmark = pytest.mark.once


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib, a plot is an ImportError that names the extra."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    nothing: Any = None
    with pytest.raises(ImportError, match=r'pip install "recallm\[plot\]"'):
        plot(nothing, "curve.png")


@pytest.mark.parametrize("guarded", [False, True])
def test_a_curve_has_a_point_for_each_threshold_with_hits(tmp_path: Path, guarded: bool) -> None:
    """The points of a curve bear their thresholds, and a second curve is drawn if guards were asked."""
    guards = (lambda prompt, cached_prompt: True,) if guarded else ()
    pairs = [Pair("0.93 reworded", "stored", True), Pair("0.85 trap", "stored", False)]
    plot(evaluate(pairs, embedder=Angles(), guards=guards, thresholds=(0.8, 0.99), at=0.9), tmp_path / "curve.svg")
    # Texts are drawn as paths; each has itself as a comment above it.
    drawn = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    curves = 2 if guarded else 1
    assert [drawn.count(f"<!-- {text} -->") for text in ("0.8", "0.9", "0.99")] == [curves, curves, 0]
    assert ("<!-- with guards -->" in drawn) is guarded
    assert "<!-- without guards -->" in drawn
