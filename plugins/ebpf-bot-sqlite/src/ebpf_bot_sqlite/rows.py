"""Turns runs and evidence into rows of the tables, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ebpf_bot_core import (
    EVIDENCE_DTYPE,
    Evidence,
    Host,
    Mode,
    ProbeTable,
    Run,
    Scope,
    escape_string,
    unescape_string,
)

__all__ = ["EVIDENCE_COLUMNS", "RUN_COLUMNS", "evidence_of", "evidence_rows", "run_of", "run_row"]

Row = tuple[Any, ...]

RUN_COLUMNS: Final = (
    "id",
    "backend",
    "plan_name",
    "plan_digest",
    "kernel",
    "machine",
    "boot_id",
    "mode",
    "scope",
    "started",
    "seconds",
    "steps",
    "command",
    "exit_status",
    "finished",
    "trace_id",
    "overhead_ratio",
)

EVIDENCE_COLUMNS: Final = (*(EVIDENCE_DTYPE.names or ()), "detail")
"""The columns beside `run` and `probe`."""


def run_row(run: Run) -> Row:
    """Return the values of `RUN_COLUMNS`."""
    texts = (run.id, run.backend, run.plan_name, run.plan_digest)
    host = (run.host.kernel, run.host.machine, run.host.boot_id)
    return (
        *map(escape_string, (*texts, *host)),
        run.mode.value,
        run.scope.value,
        escape_string(run.started),
        run.seconds,
        run.steps,
        json.dumps(run.command),
        run.exit_status,
        run.finished,
        escape_string(run.trace_id),
        run.overhead_ratio,
    )


def run_of(row: Row) -> Run:
    """Return the run that `run_row` has made a row of."""
    value = dict(zip(RUN_COLUMNS, row, strict=True))
    return Run(
        id=unescape_string(value["id"]),
        backend=unescape_string(value["backend"]),
        plan_name=unescape_string(value["plan_name"]),
        plan_digest=unescape_string(value["plan_digest"]),
        host=Host(
            unescape_string(value["kernel"]),
            unescape_string(value["machine"]),
            unescape_string(value["boot_id"]),
        ),
        mode=Mode(value["mode"]),
        scope=Scope(value["scope"]),
        started=unescape_string(value["started"]),
        seconds=value["seconds"],
        steps=value["steps"],
        command=tuple(json.loads(value["command"])),
        exit_status=value["exit_status"],
        finished=bool(value["finished"]),
        trace_id=unescape_string(value["trace_id"]),
        overhead_ratio=value["overhead_ratio"],
    )


def evidence_rows(evidence: Evidence, run: int, probes: Sequence[int]) -> list[Row]:
    """Return (run, probe, *EVIDENCE_COLUMNS) of each row.

    Args:
        evidence: what to keep.
        run: the number of its run.
        probes: the number of each of its probes.
    """
    details = {row: escape_string(text) for row, text in evidence.details.items()}
    return [
        (run, probe, *columns, details.get(i, ""))
        for i, (probe, columns) in enumerate(zip(probes, evidence.columns.tolist(), strict=True))
    ]


def evidence_of(rows: Sequence[Row], signals_lost: int) -> Evidence:
    """Return the evidence of rows of (name of the probe, *EVIDENCE_COLUMNS)."""
    columns = np.array([row[1:-1] for row in rows], EVIDENCE_DTYPE)
    details = {i: unescape_string(row[-1]) for i, row in enumerate(rows) if row[-1]}
    return Evidence(
        ProbeTable(tuple(unescape_string(row[0]) for row in rows)), columns, details, signals_lost
    )
