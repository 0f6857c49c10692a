"""The dashboard ``examples/grafana.json``: each of its queries finds what a service's metrics hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from support.background import audits_settled
from support.dashboard import Panel, Query, Window, board, draw, panels
from support.faulty import Function, Obstinate, Returning
from support.promql import Series, labels_kept, metrics_in

import recallm
from recallm import CacheStats, InMemoryStorage
from recallm.testing import Clock

pytestmark = pytest.mark.once

PANELS = panels()
QUERIES = [(panel, query) for panel in PANELS for query in panel.queries]
IDS = [f"{panel.title}: {query.legend}" for panel, query in QUERIES]


class Scraped(NamedTuple):
    """What a service's metrics were over time, and its statistics at the end."""

    series: Series
    window: Window
    stats: CacheStats


def never(prompt: str, cached_prompt: str) -> bool:
    """Refuse every candidate."""
    return False


def disagree(prompt: str, cached_response: object, response: object) -> bool:
    """Find half of the answers wrong."""
    return "right" in prompt


class Service:
    """A service in which everything happens that is counted."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.expired = InMemoryStorage(clock=self.clock)
        self.raises: set[str] = set()

        def moody(question: str) -> str:
            if question in self.raises:
                raise ConnectionError
            return question

        def down(own: Any, *_: object) -> Any:
            raise ConnectionError

        known: dict[str, Any] = {"name": "service"}
        self.full = Function(storage=InMemoryStorage(max_entries=3), price=lambda response: 0.5, **known)
        self.vetoed = Function(guards=(never,), **known)
        self.broken = Function(embedder=Returning(ConnectionError()), **known)
        self.down = Function(storage=Obstinate(recall=down), **known)
        self.audited = Function(audit=1.0, same=disagree, **known)
        self.shadow = Function(serve="none", **known)
        self.moody = recallm.semantic_cache(
            context={},
            storage=self.expired,
            threshold="exact",
            ttl=10,
            stale_if_error=1000,
            version="1",
            **known,
        )(moody)

    def work(self, round_: int) -> None:
        """Have everything happen once."""
        for prompt in ("one two", "one two", "two one", f"new {round_}", f"newer {round_}"):
            for function in (self.full, self.vetoed, self.shadow):
                function.cached(prompt)
        for prompt in (f"right {round_} {round_}0", f"{round_} right {round_}0", f"odd {round_}", f"{round_} odd"):
            self.audited.cached(prompt)
        audits_settled()
        self.audited.cached.wrong(f"right {round_} {round_}0")
        self.broken.cached("one")
        self.down.cached("one")
        self.raises.clear()
        self.moody("again")
        self.clock.advance(50)
        self.raises.add("again")
        self.moody("again")


@pytest.fixture(scope="module")
def scraped() -> Iterator[Scraped]:
    """A service at work for ten minutes, scraped every 15 seconds."""
    registry, series = CollectorRegistry(), Series()
    recallm.use_metrics_registry(registry)
    service = Service()
    for number in range(41):
        service.work(number)
        if number:  # the first happens before the first scrape, as a counter with a label begins at 1
            series.add(15.0 * number, generate_latest(registry).decode())
    yield Scraped(series, Window(15.0, 600.0, 15.0), recallm.stats("service"))
    recallm.use_metrics_registry(CollectorRegistry())


@pytest.mark.parametrize(("panel", "query"), QUERIES, ids=IDS)
def test_a_query_finds_its_metrics(panel: Panel, query: Query, scraped: Scraped) -> None:
    """Metrics and labels that a query names exist, its legend's labels remain, and it gives finite numbers."""
    for name, named in metrics_in(query.text).items():
        found = scraped.series.samples.get(name)
        assert found, f"there is no metric {name}"
        for present in found:
            assert named <= {label for label, _ in present}
            assert labels_kept(query.text) <= {label for label, _ in present}
    given = scraped.window.value(query, scraped.series)
    assert given
    for labels, value in given.items():
        assert math.isfinite(value)
        assert "{{" not in query.legend_of(labels)
        assert query.legend_of(labels) or not query.legend


def test_every_metric_is_on_the_dashboard(scraped: Scraped) -> None:
    """Each metric that a service exposes is shown by some panel."""
    shown = {name for _, query in QUERIES for name in metrics_in(query.text)}
    families = {name.removesuffix("_sum").removesuffix("_count").removesuffix("_bucket") for name in shown}
    exposed = {
        name.removesuffix("_sum").removesuffix("_count").removesuffix("_bucket")
        for name in scraped.series.samples
        if name.startswith("recallm_") and not name.endswith("_created")
    }
    assert exposed == families


def test_the_numbers_are_those_of_the_statistics(scraped: Scraped) -> None:
    """What single numbers show over the time of all calls is what `stats()` says of them."""
    from_nothing = Series(
        {
            name: {labels: ([0.0, *times], [0.0, *values]) for labels, (times, values) in rows.items()}
            for name, rows in scraped.series.samples.items()
        }
    )
    shown = {
        panel.title: next(iter(Window(0.0, 600.0, 15.0).value(panel.queries[0], from_nothing).values()))
        for panel in PANELS
        if panel.kind == "stat"
    }
    stats = scraped.stats
    assert shown["Hit rate"] == pytest.approx(stats.hit_rate)
    assert shown["Time saved"] == pytest.approx(stats.saved_seconds)
    assert shown["Tokens saved"] == stats.saved_tokens
    assert shown["Money saved"] == pytest.approx(stats.saved_cost)
    assert shown["Wrong rate, at most"] > stats.wrong_rate > 0


def test_the_interval_holds_the_measured_rate(scraped: Scraped) -> None:
    """The dashboard's interval of the wrong rate is Wilson's."""
    panel = next(panel for panel in PANELS if panel.title == "Wrong rate by audits")
    upper, measured, lower = (next(iter(scraped.window.value(each, scraped.series).values())) for each in panel.queries)
    n = sum(values[-1] - values[0] for _, values in scraped.series.samples["recallm_audited_total"].values())
    z = 1.959964
    centre, half = measured + z * z / (2 * n), z * math.sqrt(measured * (1 - measured) / n + z * z / (4 * n * n))
    assert lower == pytest.approx((centre - half) / (1 + z * z / n), abs=1e-4)
    assert upper == pytest.approx((centre + half) / (1 + z * z / n), abs=1e-4)


def test_panels_do_not_overlap() -> None:
    """Panels have ids and letters of their own, fit into Grafana's 24 columns and cover each other nowhere."""
    every = board()["panels"]
    assert len({each["id"] for each in every}) == len(every)
    for each in every:
        letters = [target["refId"] for target in each["targets"]]
        assert len(set(letters)) == len(letters)
    covered: set[tuple[int, int]] = set()
    for panel in PANELS:
        x, y, w, h = (panel.place[name] for name in "xywh")
        cells = set(itertools.product(range(x, x + w), range(y, y + h)))
        assert x + w <= 24
        assert not cells & covered
        covered |= cells


def test_the_dashboard_asks_which_prometheus_and_which_caches() -> None:
    """Data source and caches are variables, which every query uses."""
    names = [each["name"] for each in board()["templating"]["list"]]
    assert names == ["datasource", "cache"]
    assert all(each["datasource"]["uid"] == "${datasource}" for each in board()["panels"])
    assert all('cache=~"$cache"' in query.text or "recallm_entries" in query.text for _, query in QUERIES)


@pytest.mark.slow
def test_the_dashboard_can_be_drawn(scraped: Scraped, tmp_path: Path) -> None:
    """The picture of the dashboard is a small PNG."""
    picture = tmp_path / "dashboard.png"
    draw(scraped.series, scraped.window, picture, "A test.")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 150_000
