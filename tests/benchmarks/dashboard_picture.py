"""Draws ``examples/grafana.json`` from the metrics of a simulated service: ``examples/pictures/dashboard.png``.

    python tests/benchmarks/dashboard_picture.py [PICTURE]

The calls, the embedding model, the guards, the storage, the metrics and the scrapes are real, and every panel is drawn
from its own queries. Simulated are the customers (labelled pairs of prompts, drawn by a Zipf law), the language model
(it takes 20 ms, and its tokens are made up), the outage of the storage, and the clock: six hours pass in minutes.
The picture is matplotlib's, as there is no Grafana here, and its queries are evaluated by ``tests/support/promql.py``.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from prometheus_client import CollectorRegistry, generate_latest
from support.dashboard import Window, draw
from support.promql import Series

import recallm
from recallm import CacheConfig, InMemoryStorage, semantic_cache
from recallm.embedders.fastembed import FastEmbedEmbedder
from recallm.evaluation.pairs import Pair, labelled

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "examples" / "pictures" / "dashboard.png"
HOURS, STEP_SECONDS, CALLS, MODEL_SECONDS = 6.0, 60.0, 12_000, 0.02
OUTAGE = range(200, 212)
"""The minutes in which the storage cannot be reached."""

CAPTION = (
    "A simulated service: real calls, embeddings, guards and metrics; customers drawn from labelled pairs, of which "
    "nearly half are traps; a language model\nthat takes 20 ms; an outage of the storage at 3:20; six hours in "
    "minutes, on two busy cores. Drawn with matplotlib from the dashboard's own queries, over the hours."
)


class Storage(InMemoryStorage):
    """A storage behind a network that is away at times."""

    blocking = True
    away = False

    def _reached(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        if self.away:
            raise ConnectionError("the storage is away")
        return operation(*arguments)

    def recall(self, *arguments: Any) -> Any:
        """Look up an answer, unless it is away."""
        return self._reached(super().recall, *arguments)

    def search(self, *arguments: Any) -> Any:
        """Search, unless it is away."""
        return self._reached(super().search, *arguments)

    def put(self, *arguments: Any) -> Any:
        """Store an answer, unless it is away."""
        return self._reached(super().put, *arguments)


def customers() -> tuple[list[Pair], dict[str, str]]:
    """Return pairs that share no prompt, and the right answer to each prompt: two that are the same have one."""
    pairs: list[Pair] = []
    known: dict[str, str] = {}
    for number, pair in enumerate(labelled(ROOT / "tests" / "data" / "pairs_test.jsonl").pairs):
        if not known.keys() & {pair.a, pair.b}:
            pairs.append(pair)
            known[pair.b] = f"answer {number}"
            known[pair.a] = known[pair.b] if pair.same else f"another answer {number}"
    return pairs, known


def agree(_prompt: str, cached_response: Any, response: Any) -> bool:
    """Return whether two answers are one."""
    return bool(cached_response["text"] == response["text"])


def simulated(chance: random.Random) -> tuple[Series, Any]:
    """Run the service, and return what was scraped, and its function."""
    pairs, known = customers()
    storage, registry, series = Storage(max_entries=450), CollectorRegistry(), Series()
    recallm.use_metrics_registry(registry)

    @semantic_cache(
        context={},
        storage=storage,
        embedder=FastEmbedEmbedder.offline(),
        namespace="support",
        name="answer",
        version="1",
        audit=0.2,
        same=agree,
        price=(0.5, 1.5),
        config=CacheConfig(cache_timeout_seconds=5.0, embed_timeout_seconds=5.0),  # a busy machine is no outage
    )
    def answer(question: str) -> dict[str, Any]:
        time.sleep(MODEL_SECONDS)
        used = {"prompt_tokens": 600, "completion_tokens": 200 + len(question), "total_tokens": 800 + len(question)}
        return {"text": known[question], "usage": used}

    answer.warmup()
    shares = [1 / (rank + 1) for rank in range(len(pairs))]
    ranked = chance.sample(pairs, len(pairs))
    minutes = int(HOURS * 60)
    busy = [1.2 + math.sin(2 * math.pi * (minute / minutes - 0.2)) for minute in range(minutes)]
    for minute, weight in enumerate(busy):
        storage.away = minute in OUTAGE
        for pair in chance.choices(ranked, shares, k=round(CALLS * weight / sum(busy))):
            answer(chance.choice((pair.a, pair.b)))
        series.add(minute * STEP_SECONDS, generate_latest(registry).decode())
    return series, answer


def main() -> None:
    """Simulate, draw, and print the statistics."""
    picture = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    series, answer = simulated(random.Random(7))  # noqa: S311  # the same customers each time
    draw(series, Window(0.0, (HOURS * 60 - 1) * STEP_SECONDS, STEP_SECONDS), picture, CAPTION)
    print(answer.stats())
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
