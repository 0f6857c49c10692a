"""Judging pairs: what is embedded, what is asked, and the rates of what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.angles import Angles

from recallm import Pair, evaluate
from recallm.embedders.managed import ManagedEmbedder
from recallm.evaluation.judge import Counts, judge


class Batched(Angles):
    """Also embeds many at once."""

    def __init__(self) -> None:
        super().__init__()
        self.slices: list[int] = []
        self.loads = 0

    def load(self) -> None:
        """Count."""
        self.loads += 1

    def embed_batch(self, texts: list[str]) -> Any:
        """Return shape (n, 2)."""
        self.slices.append(len(texts))
        return np.asarray([self.embed(text) for text in texts])

    def represents(self, text: str) -> bool:
        """Hold some texts to be unreadable."""
        return "unreadable" not in text


def fails(prompt: str, cached_prompt: str) -> bool:
    """Fail."""
    raise ZeroDivisionError


PAIRS = [Pair("0.99 reworded", "stored", True), Pair("0.93 trap", "stored", False), Pair("0.40 far", "stored", False)]


def no_traps(prompt: str, cached_prompt: str) -> bool:
    """Claim that the call is none of the traps."""
    return "trap" not in prompt


def test_a_pair_is_judged_by_its_similarity_and_by_each_guard() -> None:
    """Guards are asked about pairs that some threshold serves, each by itself."""
    thresholds = (0.5, 0.95)
    judged = judge(PAIRS, embedder=ManagedEmbedder(Angles()), guards=(no_traps, fails), thresholds=thresholds)
    assert [each.similarity for each in judged] == pytest.approx([0.99, 0.93, 0.4], abs=1e-6)
    assert [each.reach for each in judged] == [2, 1, 0]
    assert [each.refused_by for each in judged] == [("fails",), ("no_traps", "fails"), ()]
    assert [each.is_served(1, guarded=False) for each in judged] == [True, False, False]
    assert not any(each.is_served(0, guarded=True) for each in judged)


def test_rates_are_of_what_their_names_say() -> None:
    """Each rate is a share of the same pairs, of the hits or of the look-alikes, and None if there are none."""
    counts = Counts(same=10, different=50, right=6, wrong=2)
    assert (counts.hits, counts.hit_rate, counts.precision) == (8, 0.6, 0.75)
    assert (counts.wrong_rate, counts.look_alikes_served) == (0.25, 0.04)
    assert counts.precision_interval == pytest.approx((0.4093, 0.9285), abs=5e-5)
    nothing = Counts(0, 0, 0, 0)
    assert [nothing.hit_rate, nothing.precision, nothing.wrong_rate, nothing.look_alikes_served] == [None] * 4


def test_a_guard_that_raises_refuses() -> None:
    """A guard that raises refuses the pair, as it does in a cache."""
    result = evaluate(PAIRS, embedder=Angles(), guards=(fails,), thresholds=(0.5,))
    assert {row.guarded.hits for row in result.rows} == {0}


def test_the_very_prompt_is_served_whatever_the_threshold_and_the_guards() -> None:
    """A pair of equal prompts is served as an exact hit is, even if the prompt cannot be embedded."""
    pairs = [Pair("unreadable", "unreadable", True), Pair("unreadable", "unreadable too", True)]
    result = evaluate(pairs, embedder=Batched(), guards=(fails,), thresholds=(1.0,))
    assert result.rows[-1].guarded == Counts(2, 0, 1, 0)


def test_texts_are_embedded_once_in_slices() -> None:
    """After `load`, each text is embedded once, many at a time by `embed_batch`, and each step is reported."""
    embedder, told = Batched(), []
    pairs = [Pair(f"0.9 {number}", "stored", True) for number in range(300)]
    evaluate(pairs, embedder=embedder, progress=lambda *state: told.append(state))
    assert (len(embedder.texts), len(set(embedder.texts)), embedder.loads) == (301, 301, 1)
    assert embedder.slices == [128, 128, 45]
    embedding = [state for state in told if state[0] == "embedding"]
    assert embedding == [("embedding", done, 301) for done in (0, 128, 256, 301)]
    assert told[-1] == ("judging", 300, 300)
