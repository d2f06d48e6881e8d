"""The tables, as the page `docs/benchmarks.md` shows them: what stands between its markers is written here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.comparison.results import BOT, TIMES, Results, Row
from benchmarks.comparison.targets import TARGETS

__all__ = ["write"]


def write(results: Results, docs: Path) -> None:
    """Renew each part of the page; the text around them stays.

    Raises:
        ValueError: the page has not exactly one pair of markers for a part.
    """
    path = docs / "benchmarks.md"
    page = path.read_text(encoding="utf-8")
    parts: dict[str, Callable[[Results], Iterator[str]]] = {
        "machine": _machine,
        "targets": _targets,
        "comparison": _comparison,
    }
    for name, lines in parts.items():
        marked = re.compile(rf"(<!-- {name}: begin -->\n)(.*?)(<!-- {name}: end -->)", re.DOTALL)
        if len(marked.findall(page)) != 1:
            raise ValueError(f"{path} has no place for {name!r}, or several")
        # Split and joined, since a replacement would read backslashes in the text.
        before, begin, _, end, after = marked.split(page)
        page = "\n".join([before + begin, *lines(results), "", end + after])
    path.write_text(page, encoding="utf-8")


def number(value: float) -> str:
    """Return a figure in three digits."""
    if value >= 1000:  # noqa: PLR2004 - a thousand
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"


def _machine(results: Results) -> Iterator[str]:
    what = results.machine
    kind = "virtual machine" if what["virtual"] == "yes" else "machine"
    yield f"A {kind} with {what['cpus']} CPUs ({what['cpu']}), {what['memory']}, Linux {what['kernel']},"
    yield f"{what['system']}, Python {what['python']}."
    yield f"Measured by `{results.command}`."
    installed = ", ".join(f"{name} {version}" for name, version in results.versions.items() if version)
    yield f"Compared: {installed}."
    load = what.get("load", "not recorded")
    yield f"Load average at the start: {load}. Above a half or so, others were at work, and every time is longer for it."
    absent = ", ".join(name for name, version in results.versions.items() if not version)
    if absent:
        yield f"Not installed, so not compared: {absent}."


def _targets(results: Results) -> Iterator[str]:
    yield "| what | target | reached | |"
    yield "|---|---:|---:|---|"
    for target in TARGETS:
        figure, word = target.judge(results)
        sign = "≥" if target.at_least else "≤"
        shown = "" if figure is None else f"{number(figure)} {target.unit}"
        yield f"| {target.title} | {sign} {target.limit:g} {target.unit} | {shown} | {word} |"


def _comparison(results: Results) -> Iterator[str]:
    yield f"| workload | tool | median | {TIMES} {BOT} | rounds | |"
    yield "|---|---|---:|---:|---:|---|"
    for row in results.measured():
        for i, tool in enumerate(_tools(row)):
            yield _line(row, tool, row.title if i == 0 else "")


def _tools(row: Row) -> list[str]:
    """Return ours first, then the others from the fastest to the slowest, then those without a figure."""
    tools = {*row.figures, *row.notes}
    return sorted(tools, key=lambda tool: (tool != BOT, row.median(tool) or float("inf")))


def _line(row: Row, tool: str, title: str) -> str:
    median, ratio = row.median(tool), row.ratio(tool)
    cells = [
        title,
        f"**{tool}**" if tool == BOT else tool,
        "" if median is None else f"{number(median)} {row.unit}",
        "" if ratio is None or tool == BOT else number(ratio),
        str(len(row.figures.get(tool, ()))),
        row.notes.get(tool, "").replace("|", "\\|").replace("\n", " "),
    ]
    return f"| {' | '.join(cells)} |"
