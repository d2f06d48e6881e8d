"""json: the schema `ebpf-bot/coverage/1`, one probe a line, written as a stream."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from ebpf_bot_core.evidence import ProbeEvidence
from ebpf_bot_core.reports.document import CoverageDocument
from ebpf_bot_core.run import Run
from ebpf_bot_core.verdicts import Verdict

__all__ = ["SCHEMA", "JsonReport"]

SCHEMA: Final = "ebpf-bot/coverage/1"


class JsonReport:
    """One JSON document. Times are RFC 3339 in UTC; durations are seconds."""

    def write(self, document: CoverageDocument, stream: TextIO) -> None:
        """Write it; a map of a million probes needs no more memory than the map itself."""
        head = json.dumps(_head(document), indent=1)
        stream.write(head.removesuffix("\n}") + ',\n "probes": [')
        separator = "\n  "
        for row, backend in zip(document.coverage.evidence, document.backends, strict=True):
            stream.write(separator + json.dumps(_probe(row, backend)))
            separator = ",\n  "
        stream.write("\n ]\n}\n")


def _head(document: CoverageDocument) -> dict[str, Any]:
    newest = document.runs[-1]
    coverage = document.coverage
    totals = coverage.totals
    return {
        "schema": SCHEMA,
        "host": {
            "kernel": newest.host.kernel,
            "machine": newest.host.machine,
            "boot_id": newest.host.boot_id,
        },
        "plan": {"name": newest.plan_name, "digest": newest.plan_digest},
        "runs": [_run(run) for run in document.runs],
        "totals": {
            "expected": coverage.expected,
            **{verdict.label: totals[verdict] for verdict in reversed(Verdict)},
        },
        "ratio": _ratio(coverage.ratio),
        "overhead_ratio": _ratio(document.overhead_ratio),
        "signals": coverage.signals,
        "signals_lost": coverage.evidence.signals_lost,
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "backend": run.backend,
        "mode": run.mode.value,
        "scope": run.scope.value,
        "started": run.started,
        "seconds": round(run.seconds, 6),
        "steps": run.steps,
        "command": list(run.command),
        "exit_status": run.exit_status,
        "finished": run.finished,
        "overhead_ratio": _ratio(run.overhead_ratio),
        "trace_id": run.trace_id or None,
    }


def _probe(row: ProbeEvidence, backend: str | None) -> dict[str, Any]:
    return {
        "probe": row.probe,
        "verdict": row.verdict.label,
        "reason": row.reason.code or None,
        "detail": row.detail or row.reason.hint,
        "hits": row.hits,
        "first_fired": _time(row.first_fired),
        "last_fired": _time(row.last_fired),
        "live_seconds": round(row.live_seconds, 6),
        "opportunities": row.opportunities,
        "cost_seconds": round(row.cost_seconds, 9),
        "backend": backend,
    }


def _ratio(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _time(ns: int | None) -> str | None:
    if ns is None:
        return None
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
