"""What was found, as text: the tables and the disagreements for readers, a JSON document for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from agreement.building import VARIANTS, Build
from agreement.comparing import Comparison, Disagreement

__all__ = ["Results", "as_json", "parts"]

Results = Sequence[tuple[Build, Comparison]]

_WHOLE, _INLINED = VARIANTS


def parts(results: Results) -> dict[str, str]:
    """Return the parts of the page, by name: the table of each way of compiling, with what disagrees below it."""
    rows = {variant: [row for row in results if row[0].variant == variant] for variant in VARIANTS}
    return {_WHOLE.name: _whole(rows[_WHOLE]), _INLINED.name: _inlined(rows[_INLINED])}


def as_json(results: Results) -> str:
    """Return everything that was found."""
    return json.dumps([_record(build, found) for build, found in results], indent=1)


def _whole(rows: Results) -> str:
    found = [found for _, found in rows]
    return (
        f"`gcc {_WHOLE.flags}`, {len(rows)} programs. "
        f"By gcov {_sum(each.executed for each in found)} functions ran, and {_sum(each.fired for each in found)} fired: "
        f"{_sum(len(each.sets) for each in found)} are in one of these sets only.\n"
        f"By valgrind {_sum(each.called or 0 for each in found)} were called: "
        f"{_sum(len(each.witness) for each in found)} are in one of this set and of those that fired only.\n\n"
        "| program | version | functions | run (gcov) | fired | agree | agree, of those that ran | equal counts |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|\n"
        + "".join(
            _line(build, each, each.executed, each.fired, each.agreement, each.overlap, each.exact)
            for build, each in rows
        )
        + _causes("Only one of them says that it ran", rows, lambda each: each.sets)
        + _causes("Different counts", rows, lambda each: each.counts)
    )


def _inlined(rows: Results) -> str:
    found = [found for _, found in rows]
    return (
        f"`gcc {_INLINED.flags}`, {len(rows)} programs. "
        f"By valgrind {_sum(each.called or 0 for each in found)} functions were called, and "
        f"{_sum(each.fired for each in found)} fired: "
        f"{_sum(len(each.witness) for each in found)} are in one of these sets only.\n"
        f"By gcov {_sum(each.executed for each in found)} ran: "
        f"{_sum(len(each.sets) for each in found)} are in one of this set and of those that fired only.\n\n"
        "| program | version | functions | called (valgrind) | fired | agree, of those called | run (gcov) "
        "| agree, of those that ran |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|\n"
        + "".join(
            _line(build, each, each.called or 0, each.fired, each.witnessed, each.executed, each.overlap)
            for build, each in rows
        )
        + _causes("Only one of them says that it ran", rows, lambda each: each.sets)
    )


def _line(build: Build, found: Comparison, *cells: float) -> str:
    figures = [_percent(cell) if isinstance(cell, float) else f"{cell:,}" for cell in cells]
    return f"| {' | '.join([build.program.name, build.version, f'{found.functions:,}', *figures])} |\n"


def _percent(share: float) -> str:
    """Round down, so that 100 % is all."""
    return f"{int(share * 10_000) / 100:.2f} %"


def _sum(figures: Iterable[int]) -> str:
    return f"{sum(figures):,}"


def _causes(what: str, rows: Results, chosen: Callable[[Comparison], Sequence[Disagreement]]) -> str:
    """Name every function that disagrees, by its cause and program."""
    by_cause: dict[str, dict[str, list[Disagreement]]] = {}
    for build, found in rows:
        for each in chosen(found):
            programs = by_cause.setdefault(each.cause or "THE CAUSE IS NOT KNOWN", {})
            programs.setdefault(build.program.name, []).append(each)
    lines = [
        f"- {what}: {cause}. "
        + "; ".join(f"{program}: {', '.join(map(_shown, members))}" for program, members in programs.items())
        + ".\n"
        for cause, programs in by_cause.items()
    ]
    return "\n" + "".join(lines) if lines else ""


def _shown(member: Disagreement) -> str:
    return f"`{member.function}` ({member.executed:,} : {member.entered:,})"


def _record(build: Build, found: Comparison) -> dict[str, Any]:
    return {
        "program": build.program.name,
        "version": build.version,
        "flags": build.variant.flags,
        "agreement": found.agreement,
        "overlap": found.overlap,
        "witnessed": found.witnessed,
        "exact": found.exact,
        **attrs.asdict(found),
    }
