"""Draws the dashboards of grafana/dashboards as pictures, with matplotlib, from what a Prometheus answers.

Every panel's own expression is asked, for the last minutes; a picture has the places and titles that Grafana gives the
panels, and not its looks. For docs/stack.md.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter

ROOT = Path(__file__).parents[1]
WIDTH = 24  # columns of Grafana's grid
COLORS = ["#5794f2", "#73bf69", "#f2cc0c", "#ff9830", "#b877d9", "#e0526a", "#8ab8ff", "#96d98d"]
NAMED = {"green": "#73bf69", "blue": "#5794f2", "red": "#e0526a", "orange": "#ff9830", "purple": "#b877d9",
         "gray": "#9fa7b3", "yellow": "#f2cc0c"}  # fmt: skip
LONGEST_LEGEND = 30


class Prometheus:
    """Answers expressions over the last minutes."""

    def __init__(self, url: str, minutes: float) -> None:
        self._url = url
        self._seconds = minutes * 60
        self._now = time.time()

    def _ask(self, path: str, expression: str, **parameters: object) -> list[dict[str, Any]]:
        for variable, value in {
            "$__rate_interval": "1m",
            "$__range": f"{self._seconds:.0f}s",
            '"$host"': '".*"',
            '"$run"': '".*"',
        }.items():
            expression = expression.replace(variable, value)
        query = urlencode({"query": expression, **parameters})
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}") as answer:
            return json.load(answer)["data"]["result"]

    def now(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series."""
        answer = self._ask("query", expression, time=self._now)
        return [(each["metric"], float(each["value"][1])) for each in answer]

    def over_time(self, expression: str) -> list[tuple[dict[str, str], list[datetime], list[float]]]:
        """Return labels, times and values of each series; where there is none, a gap."""
        step = max(1, self._seconds / 240)
        start = self._now - self._seconds
        found = []
        for each in self._ask("query_range", expression, start=start, end=self._now, step=step):
            values = {float(at): float(value) for at, value in each["values"]}
            times = [start + step * i for i in range(int(self._seconds / step) + 1)]
            nearest = [min(values, key=lambda at, t=t: abs(at - t)) for t in times]
            points = [
                values[at] if abs(at - t) < step else float("nan")
                for at, t in zip(nearest, times, strict=True)
            ]
            found.append((each["metric"], [datetime.fromtimestamp(t, UTC) for t in times], points))
        return found


def legend(pattern: str, labels: dict[str, str]) -> str:
    """Fill in a legend's `{{label}}`s."""
    for name, value in labels.items():
        pattern = pattern.replace(f"{{{{{name}}}}}", value)
    return " ".join(word for word in pattern.split() if "{{" not in word)


def written(value: float, unit: str) -> str:
    """Write a number as its panel does."""
    if unit == "percentunit":
        return f"{value:.1%}"
    number = f"{value:,.3g}" if value % 1 else f"{value:,.0f}"
    return f"{number} ms" if unit == "ms" else number


def colors(panel: dict[str, Any]) -> dict[str, str]:
    """Return the colours that a panel gives to legends."""
    return {
        each["matcher"]["options"]: NAMED[each["properties"][0]["value"]["fixedColor"]]
        for each in panel["fieldConfig"]["overrides"]
        if each["properties"][0]["id"] == "color"
    }


def draw_stat(axes: Axes, panel: dict[str, Any], source: Prometheus) -> None:
    """Draw one number for each series."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.axis("off")
    answers = [(target, *each) for target in panel["targets"] for each in source.now(target["expr"])]
    for i, (target, labels, value) in enumerate(answers):
        x = (i + 0.5) / len(answers)
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [{"color": "blue"}])
        color = [step["color"] for step in steps if value >= (step.get("value") or float("-inf"))][-1]
        axes.text(x, 0.5, written(value, unit), ha="center", va="center", fontsize=19, color=NAMED[color])
        if len(answers) > 1:
            axes.text(x, 0.05, legend(target["legendFormat"], labels), ha="center", fontsize=8)


def draw_timeseries(axes: Axes, panel: dict[str, Any], source: Prometheus) -> None:
    """Draw a line for each series, or areas on top of each other."""
    defaults, fixed = panel["fieldConfig"]["defaults"], colors(panel)
    series = [
        (legend(target["legendFormat"], labels), times, values)
        for target in panel["targets"]
        for labels, times, values in source.over_time(target["expr"])
    ]
    palette = [fixed.get(name, COLORS[i % len(COLORS)]) for i, (name, _, _) in enumerate(series)]
    names = [
        name if len(name) <= LONGEST_LEGEND else name[: LONGEST_LEGEND - 1] + "…" for name, _, _ in series
    ]
    if "custom" in defaults:
        stacked = [[0.0 if value != value else value for value in values] for _, _, values in series]  # noqa: PLR0124
        axes.stackplot(series[0][1], stacked, labels=names, colors=palette, alpha=0.75)
    else:
        for name, color, (_, times, values) in zip(names, palette, series, strict=True):
            axes.plot(times, values, label=name, color=color, linewidth=1.3)
    axes.set_ylim(bottom=0, top=1 if defaults.get("max") == 1 else None)
    axes.yaxis.set_major_formatter(lambda value, _: written(round(value, 6), defaults["unit"]))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))
    if series:
        axes.set_xlim(series[0][1][0], series[0][1][-1])
    else:
        axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes, color="gray")
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    if names:
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def draw_bargauge(axes: Axes, panel: dict[str, Any], source: Prometheus) -> None:
    """Draw a bar for each series, the longest on top."""
    target = panel["targets"][0]
    bars = sorted(
        (value, legend(target["legendFormat"], labels)) for labels, value in source.now(target["expr"])
    )
    drawn = axes.barh([name for _, name in bars], [value for value, _ in bars], color=COLORS[3])
    axes.bar_label(drawn, fontsize=8, padding=3)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_table(axes: Axes, panel: dict[str, Any], source: Prometheus) -> None:
    """Draw a row for each host."""
    (organize,) = [each["options"] for each in panel["transformations"] if each["id"] == "organize"]
    cells: dict[str, dict[str, str]] = {}
    headings = list(organize["renameByName"].values())
    for target in panel["targets"]:
        heading = organize["renameByName"][f"Value #{target['refId']}"]
        for labels, value in source.now(target["expr"]):
            unit = "percentunit" if heading == "Coverage" else "short"
            cells.setdefault(labels.get("host_name", ""), {})[heading] = written(value, unit)
    axes.axis("off")
    text = [[host, *(row.get(name, "") for name in headings[1:])] for host, row in sorted(cells.items())]
    table = axes.table(text, colLabels=headings, loc="upper center", cellLoc="left")
    table.auto_set_font_size(value=False)
    table.set_fontsize(8)


DRAW = {"stat": draw_stat, "timeseries": draw_timeseries, "bargauge": draw_bargauge, "table": draw_table}


def draw(path: Path, source: Prometheus, out: Path) -> None:
    """Draw one dashboard."""
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(15, height * 0.36 + 0.5))
    figure.suptitle(dashboard["title"], x=0.02, ha="left", fontsize=13)
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        left = 0.045 if panel["type"] != "bargauge" else 0.15
        right = 0.135 if panel["type"] == "timeseries" else 0.02
        axes = figure.add_axes(
            (
                at["x"] / WIDTH + left * (panel["type"] != "stat"),
                0.97 - 0.97 * (at["y"] + at["h"] - 0.7) / height,
                at["w"] / WIDTH - (left + right) * (panel["type"] != "stat"),
                0.97 * (at["h"] - 2.2) / height,
            )
        )
        axes.set_title(panel["title"], loc="left" if panel["type"] != "stat" else "center", fontsize=9)
        DRAW[panel["type"]](axes, panel, source)
    figure.savefig(out, dpi=80)
    plt.close(figure)


def main() -> None:
    """Draw all dashboards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prometheus", default="http://localhost:9090")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    source = Prometheus(options.prometheus, options.minutes)
    for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json")):
        out = options.output / f"dashboard-{path.stem}.png"
        draw(path, source, out)
        print(out)


if __name__ == "__main__":
    main()
