"""Writing what was found: tables for readers, and a JSON document for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs

from agreement.building import VARIANTS, Build
from agreement.comparing import Comparison, Disagreement

__all__ = ["as_json", "as_markdown"]

_HEAD = """\
| program | version | functions | run (gcov) | fired | agree | agree, of those that ran | equal counts |
|---|---|---:|---:|---:|---:|---:|---:|
"""


def as_markdown(results: Sequence[tuple[Build, Comparison]]) -> str:
    """Return a table for each way of compiling, and below it every disagreement with its cause."""
    parts = []
    for variant in VARIANTS:
        rows = [(build, found) for build, found in results if build.variant == variant]
        title = variant.title[0].upper() + variant.title[1:]
        parts.append(f"{title}:\n\n{_HEAD}" + "".join(_row(build, found) for build, found in rows))
        parts.append(_causes([found for _, found in rows]))
    return "\n".join(filter(None, parts))


def as_json(results: Sequence[tuple[Build, Comparison]]) -> str:
    """Return everything that was found."""
    return json.dumps([_record(build, found) for build, found in results], indent=1)


def _row(build: Build, found: Comparison) -> str:
    cells = [
        build.program.name,
        build.version,
        f"{found.functions:,}",
        f"{found.executed:,}",
        f"{found.fired:,}",
        _percent(found.agreement),
        _percent(found.overlap),
        _percent(found.exact),
    ]
    return f"| {' | '.join(cells)} |\n"


def _percent(share: float) -> str:
    """Round down, so that 100 % is all."""
    return f"{int(share * 10_000) / 100:.2f} %"


def _causes(rows: Sequence[Comparison]) -> str:
    lines = []
    for what, groups in (
        ("only one says that it ran", [found.sets for found in rows]),
        ("different counts", [found.counts for found in rows]),
    ):
        by_cause: dict[str, list[Disagreement]] = {}
        for disagreement in (each for group in groups for each in group):
            by_cause.setdefault(disagreement.cause or "UNEXPLAINED", []).append(disagreement)
        lines += [
            f"- {len(members)} x {what}: {cause} ({_examples(members)})\n"
            for cause, members in sorted(by_cause.items(), key=lambda item: -len(item[1]))
        ]
    return "".join(lines)


def _examples(members: Sequence[Disagreement]) -> str:
    shown = [f"`{member.function}` {member.executed:,} : {member.entered:,}" for member in members[:3]]
    return ", ".join(shown) + (", …" if len(members) > len(shown) else "")


def _record(build: Build, found: Comparison) -> dict[str, Any]:
    return {
        "program": build.program.name,
        "version": build.version,
        "flags": build.variant.flags,
        "agreement": found.agreement,
        "overlap": found.overlap,
        "exact": found.exact,
        **attrs.asdict(found),
    }
