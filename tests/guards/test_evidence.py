"""Evidence: each is weighed, and each that speaks against one answer is refused by a guard."""

from __future__ import annotations

from recallm.guards.evidence import WEIGHTS, Evidence


def test_every_evidence_has_exactly_one_weight() -> None:
    """An evidence without a weight would fail when it is first found."""
    assert set(WEIGHTS) == set(Evidence)
    assert len(WEIGHTS) == len(Evidence)
