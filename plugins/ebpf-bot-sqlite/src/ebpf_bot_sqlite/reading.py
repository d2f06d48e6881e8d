"""Reads runs, evidence and signals out of the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import (
    SIGNAL_DTYPE,
    UNRECORDED,
    Evidence,
    Layouts,
    ProbeTable,
    Run,
    SignalBatch,
    StoreError,
    escape_string,
    unescape_bytes,
    unescape_string,
)
from ebpf_bot_sqlite.appended import Description, from_json
from ebpf_bot_sqlite.later import selected
from ebpf_bot_sqlite.rows import EVIDENCE_COLUMNS, RUN_COLUMNS, evidence_of, run_of

__all__ = ["SavedSignals", "read_evidence", "read_runs"]

_CHUNK: Final = 1 << 16
"""Signals read at a time."""

_PLAIN: Final = ("time", "count", "pid", "tid", "cpu")
"""The fields that are integers in the table and in a batch."""


def read_runs(connection: sqlite3.Connection) -> list[Run]:
    """Return all runs in the order in which they started."""
    columns = selected(connection, "runs", RUN_COLUMNS)
    rows = connection.execute(f"SELECT {columns} FROM runs ORDER BY started, number")  # noqa: S608
    return [run_of(row) for row in rows]


def read_evidence(connection: sqlite3.Connection, run_id: str) -> Evidence:
    """Return the evidence of a run; StoreError if it is not there."""
    number, signals_lost = _find(connection, run_id)
    rows = connection.execute(
        f"SELECT probes.name, {selected(connection, 'evidence', EVIDENCE_COLUMNS)} FROM evidence "  # noqa: S608
        "JOIN probes ON probes.number = evidence.probe WHERE run = ? ORDER BY probe",
        (number,),
    ).fetchall()
    return evidence_of(rows, signals_lost)


def _find(connection: sqlite3.Connection, run_id: str) -> tuple[int, int]:
    found = connection.execute(
        "SELECT number, signals_lost FROM runs WHERE id = ?", (escape_string(run_id),)
    ).fetchone()
    if found is None:
        raise StoreError(f"no run {run_id!r} in the store", hint="`ebpf-bot report --format json` lists them")
    number, signals_lost = found
    return int(number), int(signals_lost)


@attrs.frozen
class SavedSignals:
    """Where the signals of a run are, as of one moment; they are then read a piece at a time.

    No statement stays open between two pieces, so a reader that pauses holds nobody up.

    Attributes:
        pieces: (batch, first id, last id, description of the appended fields).
        probes: all probes of the store; one table, so that pieces can be put together.
        rows: shape (highest number + 1,), the row in `probes` of each probe's number.
    """

    pieces: list[tuple[int, int, int, str]]
    probes: ProbeTable
    rows: NDArray[np.int64]

    @classmethod
    def find(cls, connection: sqlite3.Connection, run_id: str) -> SavedSignals:
        """Look up what a run has; StoreError if it is not there."""
        number, _ = _find(connection, run_id)
        batches = connection.execute(
            "SELECT number, first_signal, last_signal, fields FROM batches WHERE run = ? ORDER BY number",
            (number,),
        ).fetchall()
        numbered = connection.execute("SELECT number, name FROM probes ORDER BY number").fetchall()
        pieces = [
            (batch, start, min(start + _CHUNK - 1, last), fields)
            for batch, first, last, fields in batches
            for start in range(first, last + 1, _CHUNK)
        ]
        rows = np.zeros(numbered[-1][0] + 1 if numbered else 0, np.int64)
        rows[[number for number, _ in numbered]] = np.arange(len(numbered))
        return cls(pieces, ProbeTable(tuple(unescape_string(name) for _, name in numbered)), rows)

    def read(self, connection: sqlite3.Connection, piece: tuple[int, int, int, str]) -> SignalBatch:
        """Return one of the pieces."""
        batch, first, last, fields = piece
        rows = connection.execute(
            f"SELECT {', '.join(_PLAIN)}, probe, comm, extra FROM signals "  # noqa: S608
            "WHERE id BETWEEN ? AND ? AND batch = ? ORDER BY id",
            (first, last, batch),
        ).fetchall()
        description = Description.read(fields)
        records = np.zeros(len(rows), [*SIGNAL_DTYPE.descr, *description.appended])
        if not rows:
            return SignalBatch(self.probes, records)
        *plain, probe, comm, extra = zip(*rows, strict=True)
        for name, values in zip(_PLAIN, plain, strict=True):
            records[name] = values
        records["probe"] = self.rows[np.array(probe)]
        names = {text: unescape_bytes(text) for text in set(comm)}
        records["comm"] = [names[text] for text in comm]
        if description.appended:
            appended = from_json(extra, np.arange(len(rows)), description.appended)
            for name in appended.dtype.names or ():
                records[name] = appended[name]
        if not description.layouts:
            return SignalBatch(self.probes, records)
        records, layouts = Layouts.pack(
            records, self._payloads(description, records, probe, extra), len(self.probes)
        )
        return SignalBatch(self.probes, records, layouts=layouts)

    def _payloads(
        self,
        description: Description,
        records: NDArray[np.void],
        probes: Sequence[int],
        extra: Sequence[Any],
    ) -> list[tuple[NDArray[np.intp], dict[str, NDArray[Any]]]]:
        """Return the payloads by layout, as `Layouts.pack` takes them."""
        which = np.array([description.of_probe.get(probe, -1) for probe in probes])
        which[records["cpu"] == UNRECORDED] = -1
        groups = []
        for number, fields in enumerate(description.layouts):
            positions = np.flatnonzero(which == number)
            if len(positions):
                columns = from_json(extra, positions, fields)
                groups.append((positions, {name: columns[name] for name in columns.dtype.names or ()}))
        return groups
