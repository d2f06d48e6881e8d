"""Measures how many signals a second the stores keep, against the least that SQLite itself needs.

    python benchmarks/stores.py --rows 500000 --rounds 5

`bare executemany` inserts the same rows, already made into tuples of Python, into one plain table of a database in the
same mode; SqliteStore has to make the rows out of columns first. All write into the same directory, in turn; the table shows
medians of the rounds, and of their ratios. It is the CPU time of this thread, the kernel's part of it included, since
beside other work the time that passes tells more of that work; what a disk makes it wait is not in it.
"""

from __future__ import annotations

import argparse
import functools
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from ebpf_bot_file import FileOptions, FileStore
from ebpf_bot_sqlite import SqliteOptions, SqliteStore
from rich.console import Console
from rich.table import Table

from ebpf_bot_core import Evidence, Run, SignalBatch, SignalStore
from ebpf_bot_core.testing import sample_batch, sample_evidence, sample_probes, sample_run

PROBES = 2_000
SMALL_SAVE = 20


class Stopwatch:
    """Collects seconds a name, one a round."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Add the CPU time that the body takes."""
        began = time.thread_time()
        yield
        self.seconds.setdefault(name, []).append(time.thread_time() - began)

    def rate(self, name: str, rows: int) -> float:
        """Return the median of rows a second."""
        return rows / statistics.median(self.seconds[name])

    def ratio(self, name: str, base: str) -> float:
        """Return how fast `name` was, in units of `base` of the same round; the median."""
        pairs = zip(self.seconds[base], self.seconds[name], strict=True)
        return statistics.median(slow / fast for slow, fast in pairs)


def bare_executemany(watch: Stopwatch, directory: Path, rows: list[tuple[object, ...]]) -> None:
    """Insert rows as plainly as it can be done in the mode that SqliteStore uses."""
    with closing(sqlite3.connect(directory / "bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE signals (time INTEGER, count INTEGER, probe INTEGER, pid INTEGER, tid INTEGER, "
            "cpu INTEGER, comm TEXT) STRICT"
        )
        with watch.timing("bare executemany"):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")


def store_rates(
    watch: Stopwatch, name: str, open_store: Callable[[], SignalStore], batch: SignalBatch, evidence: Evidence
) -> None:
    """Time one large save, many small ones, and reading the signals back."""
    run, steps = sample_run(), 200
    small = batch.where(np.arange(len(batch)) < SMALL_SAVE)
    some = evidence.take(np.arange(SMALL_SAVE))
    with closing(open_store()) as store:
        store.save(run, SignalBatch.empty(batch.probes), evidence)
        with watch.timing(f"{name}.save"):
            store.save(run, batch, some)
        with watch.timing(f"{name}.signals"):
            read = sum(len(piece) for piece in store.signals(run.id))
        if read != len(batch):
            raise SystemExit(f"{name} lost signals: {read} of {len(batch)} came back")
        other: Run = sample_run(1)
        with watch.timing(f"{name}.save, {SMALL_SAVE} signals each"):
            for _ in range(steps):
                store.save(other, small, some)
        watch.seconds[f"{name}.save, {SMALL_SAVE} signals each"][-1] /= steps


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000, help="signals in the large save")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", help="where to write; by default the directory for temporary files")
    settings = parser.parse_args()
    probes = sample_probes(PROBES)
    batch, evidence, watch = sample_batch(probes, settings.rows), sample_evidence(probes), Stopwatch()
    rows = [(*row[:-1], row[-1].decode()) for row in batch.records.tolist()]
    for _ in range(settings.rounds):
        with tempfile.TemporaryDirectory(dir=settings.directory) as name:
            directory = Path(name)
            bare_executemany(watch, directory, rows)
            sqlite = SqliteOptions(path=str(directory / "store.db"))
            store_rates(watch, "SqliteStore", functools.partial(SqliteStore, sqlite), batch, evidence)
            file = FileOptions(path=str(directory / "store"))
            store_rates(watch, "FileStore", functools.partial(FileStore, file), batch, evidence)
    table = Table(title=f"{settings.rows:,} signals of {PROBES:,} probes, median of {settings.rounds} rounds")
    for column in ("what", "signals/s", "x bare", "ms a save"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for what, seconds in watch.seconds.items():
        size = SMALL_SAVE if "each" in what else settings.rows
        ratio = "" if "each" in what else f"{watch.ratio(what, 'bare executemany'):.2f}"
        table.add_row(
            what, f"{watch.rate(what, size):,.0f}", ratio, f"{statistics.median(seconds) * 1e3:,.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
