"""The picture: a panel a workload, a bar a tool, on a logarithmic axis."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.comparison.page import number
from benchmarks.comparison.results import BOT, TIMES, Results, Row

__all__ = ["write"]

_PANELS = ("both-100", "start-100", "hit", "hot", "syscalls", "python", "stream")
_OURS, _PEER, _LIMIT = "#1f6f8b", "#b8bfc6", "#e3d5b8"
_LIMITS = ("bare", "floor")
"""Tools of these names are no tools but what cannot be gone below."""


def write(results: Results, path: Path) -> None:
    """Draw the rows that were measured."""
    rows = [results.rows[key] for key in _PANELS if key in results.rows and results.rows[key].figures]
    mpl.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "bench"})
    if not rows:
        return
    heights = [len(row.figures) for row in rows]
    figure, axes = plt.subplots(
        len(rows),
        1,
        figsize=(7.6, 0.25 * sum(heights) + 0.36 * len(rows)),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for axis, row in zip(axes[:, 0], rows, strict=True):
        _panel(axis, row)
    figure.tight_layout(h_pad=0.9)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _panel(axis: Axes, row: Row) -> None:
    """Draw one workload: the shortest bar on top is the best."""
    medians = sorted((row.median(tool) or 0.0, tool) for tool in row.figures)
    shown = [max(value, 1e-9) for value, _ in medians]
    colours = [_colour(tool) for _, tool in medians]
    # A logarithmic bar has no zero: all begin a factor of two below the shortest.
    left = min(shown) / 2
    axis.barh(range(len(shown)), [value - left for value in shown], left=left, color=colours, height=0.72)
    axis.set_xscale("log")
    axis.set_xlim(left, max(shown) * (max(shown) / left) ** 0.28)
    axis.invert_yaxis()
    axis.set_yticks(range(len(shown)), [tool for _, tool in medians])
    for tick, (_, tool) in zip(axis.get_yticklabels(), medians, strict=True):
        tick.set_fontweight("bold" if tool == BOT else "normal")
    for at, (value, tool) in enumerate(medians):
        ratio = row.ratio(tool)
        label = f"  {number(value)} {row.unit}"
        if ratio and not tool.startswith((BOT, *_LIMITS)):
            label += f"   {number(ratio)} {TIMES}"
        axis.text(value, at, label, va="center", fontsize=8.5)
    axis.set_title(row.title, loc="left", fontsize=9.5, fontweight="bold", pad=3)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_visible(False)
    axis.spines[:].set_visible(False)


def _colour(tool: str) -> str:
    if tool.startswith(BOT):
        return _OURS
    return _LIMIT if tool.startswith(_LIMITS) else _PEER
