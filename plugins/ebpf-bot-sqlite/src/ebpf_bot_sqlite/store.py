"""SqliteStore: runs, evidence and signals in one SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import numpy as np

from ebpf_bot_core import Evidence, Run, SignalBatch
from ebpf_bot_sqlite.connection import open_to_read, open_to_write
from ebpf_bot_sqlite.failures import reading, writing
from ebpf_bot_sqlite.options import SqliteOptions
from ebpf_bot_sqlite.reading import SavedSignals, read_evidence, read_runs
from ebpf_bot_sqlite.writing import used_probes, write_evidence, write_probes, write_run, write_signals

__all__ = ["SqliteStore"]


class SqliteStore:
    """Keeps records in one database file, made by the first save.

    What `save` has returned from survives the death of this process, by SIGKILL too; after a power failure the last
    saves may be missing, but never parts of one. Several processes may save and read at the same time.

    Counts beyond 63 bits are refused. The signals of a run come in batches that share one table.

    Args:
        options: where the database is.
    """

    def __init__(self, options: SqliteOptions | None = None) -> None:
        self._path = (options or SqliteOptions()).path
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._numbers: dict[str, int] = {}

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        """Keep one record of a run in one transaction; StoreError if nothing of it was kept."""
        if self._writer is None:
            self._writer = open_to_write(self._path)
        with writing(self._path), _transaction(self._writer):
            new = self._write(self._writer, run, signals, evidence)
        # Only now are they sure to be in the database.
        self._numbers.update(new)

    def _write(
        self, connection: sqlite3.Connection, run: Run, signals: SignalBatch, evidence: Evidence
    ) -> dict[str, int]:
        """Write a record; return the numbers of probes that were not known before."""
        used = used_probes(signals)
        names = [signals.probes[row] for row in used.tolist()]
        new = write_probes(connection, (*evidence.probes, *names), self._numbers)
        numbers = self._numbers | new if new else self._numbers
        number = write_run(connection, run, evidence.signals_lost)
        write_evidence(connection, number, evidence, numbers)
        if len(signals):
            number_of_row = np.zeros(len(signals.probes), np.int64)
            number_of_row[used] = [numbers[name] for name in names]
            write_signals(connection, number, signals, number_of_row)
        return new

    def runs(self) -> list[Run]:
        """Return the runs in the order in which they started."""
        with reading(self._path):
            return read_runs(self._to_read())

    def evidence(self, run_id: str) -> Evidence:
        """Return the joined evidence of one run; StoreError if there is no such run."""
        with reading(self._path):
            return read_evidence(self._to_read(), run_id)

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        """Yield the signals that the run has at the first step, in order; StoreError if there is no such run."""
        with reading(self._path):
            saved = SavedSignals.find(self._to_read(), run_id)
        for piece in saved.pieces:
            with reading(self._path):
                batch = saved.read(self._to_read(), piece)
            yield batch

    def close(self) -> None:
        """Close the database; the store opens it again when it is used again."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None
        self._numbers.clear()

    def _to_read(self) -> sqlite3.Connection:
        if self._writer is not None:
            return self._writer
        if self._reader is None:
            self._reader = open_to_read(self._path)
        return self._reader


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done within, or none of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite has often rolled back itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
