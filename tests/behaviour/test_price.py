"""What hits save in money: by tokens or by the response, kept with the answer, in statistics and metrics."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

import recallm
from recallm import CacheStats, InMemoryStorage, RecallmWarning, semantic_cache
from recallm.testing import FakeEmbedder

RESPONSE = {"text": "an answer", "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}}


def asked(price: Any, response: Any = RESPONSE, **options: Any) -> Any:
    """Return a cached function that was called three times, one of which was a miss."""
    known = {"context": {}, "storage": InMemoryStorage(), "embedder": FakeEmbedder(), "name": "priced"}

    def answer(question: str) -> Any:
        return response

    ask: Any = semantic_cache(price=price, ignore=("response",), **{**known, **options})(answer)
    for _ in range(3):
        ask("q")
    return ask


@pytest.mark.parametrize(
    ("price", "saved"),
    [
        ((0.15, 0.60), 2 * (1000 * 0.15 + 500 * 0.60) / 1e6),
        ([1, 2], 2 * 2000 / 1e6),
        ({"output": 0.60, "input": 0.15}, 2 * (1000 * 0.15 + 500 * 0.60) / 1e6),
        ((0, 0.0), 0.0),
        (lambda response: response["usage"]["total_tokens"] / 1000, 3.0),
        (lambda response: 7, 14.0),
        (lambda response: Decimal("0.25"), 0.5),
        (lambda response: np.float32(0.25), 0.5),
        ((Decimal(1), Fraction(2)), 2 * 2000 / 1e6),
        (None, 0.0),
    ],
)
def test_hits_save_what_their_answers_had_cost(price: Any, saved: float) -> None:
    """A price by tokens or by the response is summed over hits, not over misses."""
    stats = asked(price).stats()
    assert stats.hits == 2
    assert stats.saved_cost == pytest.approx(saved)
    assert ("cost" in repr(stats)) is bool(saved)


def test_the_cost_is_that_of_the_time_when_the_answer_was_made() -> None:
    """Another price later does not change what was paid."""
    storage = InMemoryStorage()
    asked(lambda response: 1.0, storage=storage, version="1")
    later = asked(lambda response: 99.0, storage=storage, version="1")
    assert later.stats().saved_cost == 3.0


def test_an_answer_that_does_not_tell_its_tokens_costs_nothing() -> None:
    """Of a response with a total alone it is not known what was read and what was written."""
    assert asked((1.0, 2.0), {"usage": {"total_tokens": 10}}).stats().saved_cost == 0.0
    assert asked((1.0, 2.0), "a text").stats().saved_cost == 0.0


def fail(response: Any) -> Any:
    """Raise."""
    raise KeyError


async def later() -> float:
    """Return a price, later."""
    return 1.0


@pytest.mark.parametrize(
    "price",
    [
        fail,
        lambda _: -1,
        lambda _: "1",
        lambda _: float("nan"),
        lambda _: True,
        lambda _: later(),
        lambda _: 10**400,
        lambda _: Decimal("sNaN"),
        lambda _: Decimal("Infinity"),
        lambda _: 1j,
    ],
)
def test_trouble_with_a_price_is_counted_and_the_answer_is_stored(price: Callable[[Any], Any]) -> None:
    """What an answer cost decides over nothing: it is served, and its cost is not known."""
    with pytest.warns(RecallmWarning, match="price= of .* cost is not known") as told:
        stats = asked(price).stats()
    assert len(told) == 1
    assert (stats.hits, stats.stored, stats.errors, stats.saved_cost) == (2, 1, {"price": 1}, 0.0)


def test_the_metric_is_what_the_statistics_say() -> None:
    """`recallm_saved_cost_total` begins at zero and follows."""
    registry = CollectorRegistry()
    recallm.use_metrics_registry(registry)
    saved = asked((0.15, 0.60)).stats().saved_cost
    assert registry.get_sample_value("recallm_saved_cost_total", {"cache": "priced"}) == pytest.approx(saved)
    assert saved > 0


def test_statistics_add_up() -> None:
    """Money of several caches is summed."""
    assert (CacheStats(saved_cost=1.5) + CacheStats(saved_cost=2.0)).saved_cost == 3.5
    assert recallm.stats().saved_cost == 0.0
