"""The dashboard in ``examples/grafana.json``: its panels and queries, evaluated on scrapes, and drawn."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from support.promql import Labels, Series, Vector, evaluate

PATH = Path(__file__).parents[2] / "examples" / "grafana.json"

COLUMN_INCHES, ROW_INCHES = 0.6, 0.3
"""The size of a cell of the dashboard's grid in a picture."""

Curves: TypeAlias = Mapping[str, tuple[list[float], list[float]]]
"""By legend, times and values."""


class Query(NamedTuple):
    """A query of a panel, and what its curves are called."""

    text: str
    legend: str

    def legend_of(self, labels: Labels) -> str:
        """Return the legend of one curve."""
        return re.sub(r"\{\{(\w+)\}\}", lambda match: dict(labels).get(match[1], ""), self.legend)


class Panel(NamedTuple):
    """A panel: its kind ("stat", "timeseries", "bargauge", "heatmap"), place, unit and queries."""

    title: str
    kind: str
    unit: str
    place: Mapping[str, int]
    queries: tuple[Query, ...]


class Window(NamedTuple):
    """The time that a dashboard shows, in seconds."""

    start: float
    end: float
    step: float

    def value(self, query: Query, series: Series, at: float | None = None) -> Vector:
        """Return what a query gives at a time, or at the end."""
        span = f"{self.end - self.start:.0f}s"
        interval = f"{4 * self.step:.0f}s"
        at = self.end if at is None else at
        return evaluate(query.text, series, at, cache=".*", __range=span, __rate_interval=interval)

    def curves(self, panel: Panel, series: Series) -> Curves:
        """Return the curves of a panel."""
        found: dict[str, tuple[list[float], list[float]]] = {}
        steps = int((self.end - self.start) / self.step) + 1
        for at in (self.start + step * self.step for step in range(steps)):
            for query in panel.queries:
                for labels, value in self.value(query, series, at).items():
                    times, values = found.setdefault(query.legend_of(labels), ([], []))
                    times.append(at)
                    values.append(value)
        return found


def board() -> dict[str, Any]:
    """Return the dashboard."""
    read: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return read


def panels() -> list[Panel]:
    """Return its panels."""
    return [
        Panel(
            each["title"],
            each["type"],
            each["fieldConfig"]["defaults"]["unit"],
            each["gridPos"],
            tuple(Query(target["expr"], target["legendFormat"]) for target in each["targets"]),
        )
        for each in board()["panels"]
    ]


def draw(series: Series, window: Window, path: Path, caption: str) -> None:
    """Draw the dashboard as it would be seen, each panel by its own queries.

    Args:
        series: what was scraped.
        window: what is shown.
        path: the PNG file to write.
        caption: stands below.
    """
    from matplotlib.figure import Figure

    shown = panels()
    rows = max(each.place["y"] + each.place["h"] for each in shown)
    width, height = COLUMN_INCHES * 24, ROW_INCHES * rows + 0.4
    figure = Figure(figsize=(width, height), facecolor="#f4f5f5")
    for panel in shown:
        x, y, w, h = (panel.place[name] for name in "xywh")
        left, below = COLUMN_INCHES * x + 0.5, height - ROW_INCHES * (y + h) + 0.22
        across, up = COLUMN_INCHES * w - 0.6, ROW_INCHES * h - 0.5
        axes = figure.add_axes((left / width, below / height, across / width, up / height))
        axes.set_title(panel.title, fontsize=9, loc="left", weight="bold")
        axes.tick_params(labelsize=7)
        DRAWN[panel.kind](axes, panel, series, window)
    figure.text(0.03, 0.007, caption, fontsize=8, color="#555555")
    figure.savefig(path, dpi=72)
    _with_few_colours(path)


def _with_few_colours(path: Path) -> None:
    from PIL import Image

    Image.open(path).convert("RGB").quantize(48).save(path, optimize=True)


def _draw_number(axes: Any, panel: Panel, series: Series, window: Window) -> None:
    axes.set_axis_off()
    value = next(iter(window.value(panel.queries[0], series).values()), math.nan)
    axes.text(0.5, 0.35, written(value, panel.unit), fontsize=20, ha="center", va="center", transform=axes.transAxes)


def _draw_curves(axes: Any, panel: Panel, series: Series, window: Window) -> None:
    curves = window.curves(panel, series)
    hours = {legend: [(time - window.start) / 3600 for time in times] for legend, (times, _) in curves.items()}
    for legend, (_, values) in curves.items():
        lonely = {"marker": ".", "linestyle": "none"} if panel.title.startswith("Circuits") else {}
        axes.plot(hours[legend], values, linewidth=1.1, label=legend, **lonely)
    axes.set_xlim(0, (window.end - window.start) / 3600)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: written(value, panel.unit))
    axes.grid(visible=True, alpha=0.3)
    if curves:
        axes.legend(fontsize=6.5, loc="upper left", ncols=2 if len(curves) > 3 else 1, framealpha=0.6)
    else:
        axes.text(0.5, 0.5, "no data", ha="center", color="#888888", transform=axes.transAxes)


def _draw_bars(axes: Any, panel: Panel, series: Series, window: Window) -> None:
    bars = {
        query.legend_of(labels): value
        for query in panel.queries
        for labels, value in sorted(window.value(query, series).items())
    }
    names = list(bars)[::-1]
    axes.barh(
        names, [bars[name] for name in names], color=["#c4162a" if "wrong" in name else "#3274d9" for name in names]
    )
    axes.tick_params(axis="y", labelsize=6)
    place = axes.get_position()
    axes.set_position((place.x0 + 0.045, place.y0, place.width - 0.055, place.height))
    axes.bar_label(axes.containers[0], fmt="%.0f", fontsize=6)
    axes.xaxis.set_visible(False)


def _draw_heatmap(axes: Any, panel: Panel, series: Series, window: Window) -> None:
    curves = window.curves(panel, series)
    bounds = sorted((float(legend), legend) for legend in curves)
    below: Sequence[float] = [0.0] * max((len(curves[legend][1]) for _, legend in bounds), default=0)
    cells = []
    for _, legend in bounds:
        up_to = curves[legend][1]
        cells.append([now - before for now, before in zip(up_to, below, strict=True)])
        below = up_to
    if not cells:
        return
    hours = (window.end - window.start) / 3600
    axes.imshow(cells, aspect="auto", origin="lower", cmap="Blues", extent=(0, hours, 0, len(cells)))
    axes.set_yticks([place + 1 for place in range(len(bounds))], [legend for _, legend in bounds])


DRAWN = {"stat": _draw_number, "timeseries": _draw_curves, "bargauge": _draw_bars, "heatmap": _draw_heatmap}


def written(value: float, unit: str) -> str:
    """Return a number with its unit, as the dashboard writes it."""
    if math.isnan(value):
        return "no data"
    if unit == "percentunit":
        return f"{100 * value:.1f} %"
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 or value == 0 else f"{1000 * value:.3g} ms"
    suffix = {"reqps": "/s", "ops": "/s"}.get(unit, "")
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}{suffix}"
    return f"{value:.3g}{suffix}"
