"""text: totals, and every gap under its reason, for people at a terminal or in a log."""

from __future__ import annotations

import io
from typing import Final, TextIO

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebpf_bot_core.evidence import ProbeEvidence
from ebpf_bot_core.reports.document import CoverageDocument
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["TextReport"]

_BAR: Final = 24
_WIDTH: Final = 110
"""Columns where there is no terminal."""
_EXAMPLES: Final = 5
_SMALLEST_SHOWN: Final = 0.001
"""A share of a CPU; less is written as less than this."""
_COLOURS: Final = {
    Verdict.FIRED: "green",
    Verdict.BLIND: "magenta",
    Verdict.SILENT: "yellow",
    Verdict.EXCLUDED: "bright_black",
    Verdict.REFUSED: "red",
    Verdict.MISSING: "red",
    Verdict.PENDING: "bright_black",
}


class TextReport:
    """A page of text; coloured on a terminal."""

    def write(self, document: CoverageDocument, stream: TextIO) -> None:
        """Write it."""
        if stream.isatty():
            _show(document, Console(file=stream, highlight=False, emoji=False))
            return
        page = io.StringIO()
        _show(document, Console(file=page, width=_WIDTH, highlight=False, emoji=False))
        # Tables are padded to their width, which a log or a diff has no use for.
        stream.writelines(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())


def _show(document: CoverageDocument, console: Console) -> None:
    console.print(_headline(document))
    console.print(_origin(document), style="bright_black")
    cost = _cost(document)
    if cost:
        console.print(cost, style="bright_black")
    console.print()
    console.print(_totals(document))
    gaps = _gaps(document)
    if gaps.row_count:
        console.print()
        console.print(gaps)


def _headline(document: CoverageDocument) -> Text:
    coverage = document.coverage
    totals = coverage.totals
    possible = coverage.expected - totals[Verdict.EXCLUDED]
    ratio = coverage.ratio
    percent = "n/a" if ratio is None else f"{ratio:.1%}"
    line = Text.assemble(
        ("coverage ", "bold"),
        (percent, "bold green"),
        f"  {totals[Verdict.FIRED]:,} of {possible:,} probes fired",
    )
    line.append(f"  {coverage.signals:,} signals")
    lost = coverage.evidence.signals_lost
    if lost:
        line.append(f", {lost:,} lost", "bold red")
    return line


def _origin(document: CoverageDocument) -> str:
    newest = document.runs[-1]
    backends = sorted({run.backend for run in document.runs})
    simulated = " (nothing real was probed)" if "simulated" in backends else ""
    runs = f"{len(document.runs)} runs" if len(document.runs) > 1 else f"{newest.seconds:.2f} s"
    command = f" · {' '.join(newest.command)[:60]}" if newest.command else ""
    unfinished = "" if all(run.finished for run in document.runs) else " · a run was cut short"
    return (
        f"plan {newest.plan_name} · backend {', '.join(backends)}{simulated} · {runs}"
        f" · kernel {newest.host.kernel}{command}{unfinished}"
    )


def _cost(document: CoverageDocument) -> str:
    ratio = document.overhead_ratio
    if ratio is None:
        return ""
    costs = document.coverage.evidence.columns["cost_ns"]
    most = f"; the costliest: {document.coverage.evidence.probes[int(costs.argmax())]}" if costs.any() else ""
    about = f"about {ratio:.1%}" if ratio >= _SMALLEST_SHOWN else f"less than {_SMALLEST_SHOWN:.1%}"
    return f"the probes cost the target {about} of a CPU{most}"


def _totals(document: CoverageDocument) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    totals = document.coverage.totals
    for verdict in reversed(Verdict):
        if totals[verdict]:
            share = totals[verdict] / document.coverage.expected
            bar = "█" * max(1, round(share * _BAR))
            table.add_row(verdict.label, f"{totals[verdict]:,}", Text(bar, _COLOURS[verdict]))
    return table


@attrs.define
class _Gap:
    """All probes that share a verdict and a reason, and the first names of them under where they are."""

    verdict: Verdict
    reason: Reason
    count: int = 0
    detail: str = ""
    described: int = 0
    examples: dict[str, list[str]] = attrs.field(factory=dict)
    shown: int = 0

    def add(self, row: ProbeEvidence) -> None:
        """Count a probe, and keep it as an example while there is room."""
        self.count += 1
        self.detail = self.detail or row.detail
        self.described += bool(row.detail)
        if self.shown < _EXAMPLES:
            place, _, name = row.probe.rpartition(":")
            self.examples.setdefault(place, []).append(name)
            self.shown += 1

    def advice(self) -> Text:
        """Return what to do, and for example which."""
        text = Text(self.reason.hint)
        if self.described == self.count:  # else it is about some of them only
            text.append(f"\n{self.detail}", "bright_black")
        for place, names in self.examples.items():
            text.append(f"\n{place}: " if place else "\n", "bright_black")
            text.append(", ".join(names))
        if self.count > self.shown:
            text.append(f", … {self.count - self.shown:,} more")
        return text


def _by_reason(document: CoverageDocument) -> list[_Gap]:
    groups: dict[tuple[Verdict, Reason], _Gap] = {}
    for row in document.coverage.evidence:
        if row.verdict is not Verdict.FIRED:
            groups.setdefault((row.verdict, row.reason), _Gap(row.verdict, row.reason)).add(row)
    return sorted(groups.values(), key=lambda gap: (-gap.verdict, -gap.count))


def _gaps(document: CoverageDocument) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("why not", no_wrap=True)
    table.add_column("probes", justify="right", no_wrap=True)
    table.add_column("what to do, and for example which", ratio=1, overflow="fold")
    for gap in _by_reason(document):
        label = Text.assemble((gap.verdict.label, _COLOURS[gap.verdict]), f" {gap.reason.code}")
        table.add_row(label, f"{gap.count:,}", gap.advice())
    return table
