"""What audits tell of a simulated service: whether the interval holds, and when a budget stops the cache."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks import live_proof

from recallm.telemetry.proof import is_over

CALLS = 4000


@pytest.mark.slow
@pytest.mark.model
def test_the_interval_holds_the_true_rate() -> None:
    """It holds the share of similar hits that are wrong by label in 93 of 100 seeds and more, with 5 % audited."""
    pairs, _ = live_proof.material(("pairs_search",))
    found = [
        live_proof.asked(live_proof.replayed(seed, 0.05, None), live_proof.traffic(pairs, seed, CALLS, 0.03))
        for seed in range(100)
    ]
    assert sum(each.covers for each in found) >= 93
    assert all(each.wrong for each in found)


@pytest.mark.slow
@pytest.mark.model
def test_a_budget_that_is_kept_stops_hardly_any_cache() -> None:
    """Of the caches whose wrong rate is never above the budget, at most 5 % are stopped; of those far above, most."""
    pairs, _ = live_proof.material(("pairs_search",))

    def stopped(wrong_share: float) -> list[Any]:
        return [
            live_proof.asked(
                live_proof.replayed(seed, 0.5, live_proof.BUDGET), live_proof.traffic(pairs, seed, CALLS, wrong_share)
            )
            for seed in range(100)
        ]

    kept = [each for each in stopped(0.005) if each.kept]
    assert len(kept) >= 20
    assert sum(each.stopped_by is not None for each in kept) <= 5
    assert sum(each.stopped_by is not None for each in stopped(0.1)) >= 95


@pytest.mark.slow
@pytest.mark.model
def test_the_real_flow_does_what_the_replay_does() -> None:
    """Without audits both find the same hits; with them the cache is stopped by the very audit that proves it."""
    pairs, vectors = live_proof.material(("pairs_search",))

    def calls() -> Any:
        return live_proof.traffic(pairs, 1, CALLS, 0.1)

    plain = live_proof.asked(live_proof.served(1, 0.0, None, vectors), calls())
    again = live_proof.asked(live_proof.replayed(1, 0.0, None), calls())
    assert (plain.similar, plain.wrong) == (again.similar, again.wrong)
    audited = live_proof.asked(live_proof.served(1, 0.5, None, vectors), calls())
    assert audited.covers
    limited = live_proof.asked(live_proof.served(1, 0.5, live_proof.BUDGET, vectors), calls())
    proved = [
        at for at in range(1, len(audited.audits) + 1) if is_over(sum(audited.audits[:at]), at, live_proof.BUDGET)
    ]
    assert limited.stopped_by == proved[0]
    assert limited.audits == audited.audits[: proved[0]]
