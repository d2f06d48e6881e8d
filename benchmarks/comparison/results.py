"""What was measured: rows of figures a tool and a round, and the JSON document that keeps them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

__all__ = ["BOT", "TIMES", "Results", "Row"]

BOT = "ebpf-bot"
"""The tool that ratios refer to."""
TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of a ratio."""


@attrs.define
class Row:
    """One workload, one unit; less is better.

    Attributes:
        figures: by tool, one figure a round; those of the same round were measured one after the other.
        notes: by tool, why it has no figure, or what its figure leaves out.
    """

    key: str
    title: str
    unit: str
    figures: dict[str, list[float]] = attrs.field(factory=dict)
    notes: dict[str, str] = attrs.field(factory=dict)

    def add(self, tool: str, figure: float) -> None:
        """Take in one round."""
        self.figures.setdefault(tool, []).append(figure)

    def median(self, tool: str) -> float | None:
        """Return the median of a tool's rounds."""
        return statistics.median(self.figures[tool]) if self.figures.get(tool) else None

    def ratio(self, tool: str, base: str = BOT) -> float | None:
        """Return the median over the rounds that both have of tool / base."""
        pairs = zip(self.figures.get(tool, ()), self.figures.get(base, ()), strict=False)
        ratios = [mine / other for mine, other in pairs if other > 0]
        return statistics.median(ratios) if ratios else None


@attrs.define
class Results:
    """One run of the benchmark.

    Attributes:
        machine: what it ran on; `versions` of the tools, None for those that are not installed.
    """

    machine: dict[str, str]
    versions: dict[str, str | None]
    command: str
    rows: dict[str, Row] = attrs.field(factory=dict)

    def row(self, key: str, title: str, unit: str) -> Row:
        """Return the row of this key, made when first asked for."""
        return self.rows.setdefault(key, Row(key, title, unit))

    def median(self, key: str, tool: str = BOT) -> float | None:
        """Return the median of a tool in a row; None where either is missing."""
        return self.rows[key].median(tool) if key in self.rows else None

    def ratio(self, key: str, tool: str, base: str) -> float | None:
        """Return the median of paired ratios in a row; None where one is missing."""
        return self.rows[key].ratio(tool, base) if key in self.rows else None

    def measured(self) -> Iterator[Row]:
        """Yield the rows that have a figure or a note."""
        yield from (row for row in self.rows.values() if row.figures or row.notes)

    def join_rows_of(self, path: Path) -> None:
        """Take in the rows of another benchmark's document, where there is one."""
        if path.exists():
            for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
                self.rows[row["key"]] = Row(**{field.name: row[field.name] for field in attrs.fields(Row)})

    def document(self) -> dict[str, Any]:
        """Return plain data: what was measured, and the medians and ratios that follow from it."""
        return {
            "schema": "ebpf-bot/benchmark/1",
            "command": self.command,
            "machine": self.machine,
            "versions": self.versions,
            "rows": [
                {**attrs.asdict(row), "medians": _each(row, row.median), "ratios": _each(row, row.ratio)}
                for row in self.measured()
            ],
        }

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what `document` wrote."""
        data = json.loads(path.read_text(encoding="utf-8"))
        results = cls(data["machine"], data["versions"], data["command"])
        results.join_rows_of(path)
        return results


def _each(row: Row, figure: Any) -> Mapping[str, float | None]:
    return {tool: figure(tool) for tool in row.figures}
