"""Writes one record into the tables, inside a transaction that the caller begins and ends."""

from __future__ import annotations

import functools
import itertools
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import (
    SIGNAL_DTYPE,
    Evidence,
    Reason,
    Run,
    SignalBatch,
    StoreError,
    escape_bytes,
    escape_string,
)
from ebpf_bot_sqlite.appended import describe, to_json
from ebpf_bot_sqlite.rows import EVIDENCE_COLUMNS, RUN_COLUMNS, evidence_rows, run_row

__all__ = ["used_probes", "write_evidence", "write_probes", "write_run", "write_signals"]

_KEEP_RUN: Final = (
    f"INSERT INTO runs ({', '.join(RUN_COLUMNS)}, signals_lost) "  # noqa: S608 - column names only
    f"VALUES ({', '.join('?' * len(RUN_COLUMNS))}, ?) ON CONFLICT (id) DO UPDATE SET "
    f"{', '.join(f'{name} = excluded.{name}' for name in RUN_COLUMNS)}, "
    "signals_lost = max(signals_lost, excluded.signals_lost) RETURNING number"
)


def _rank(reason: str) -> str:
    """Return the expression for the rank of a reason, `Reason.rank`."""
    budget = Reason.BUDGET
    return f"iif({reason} = {int(budget)}, {budget.rank}, {reason})"


_JOIN_EVIDENCE: Final = f"""
INSERT INTO evidence (run, probe, {", ".join(EVIDENCE_COLUMNS)})
VALUES (?, ?, {", ".join("?" * len(EVIDENCE_COLUMNS))})
ON CONFLICT (run, probe) DO UPDATE SET
    -- Verdict, reason and detail climb as one, compared in this order.
    verdict = max(verdict, excluded.verdict),
    reason = CASE
        WHEN (excluded.verdict, {_rank("excluded.reason")}) > (verdict, {_rank("reason")}) THEN excluded.reason
        ELSE reason
    END,
    detail = CASE
        WHEN (excluded.verdict, {_rank("excluded.reason")}, excluded.detail) > (verdict, {_rank("reason")}, detail)
        THEN excluded.detail
        ELSE detail
    END,
    hits = max(hits, excluded.hits),
    first_fired = coalesce(
        min(nullif(first_fired, 0), nullif(excluded.first_fired, 0)), max(first_fired, excluded.first_fired)
    ),
    last_fired = max(last_fired, excluded.last_fired),
    live_ns = max(live_ns, excluded.live_ns),
    opportunities = max(opportunities, excluded.opportunities),
    cost_ns = max(cost_ns, excluded.cost_ns)
"""  # noqa: S608 - likewise
"""`Evidence.join`, for one row."""

_ROWS_AT_ONCE: Final = (64, 8, 1)
"""Signals that one INSERT takes, as long as there are so many left: what SQLite's module does once a statement then
costs a signal a small part of that."""

_CHUNK: Final = 1 << 16
"""Signals that are Python objects at a time, so that a large batch does not need memory many times its size."""


def write_run(connection: sqlite3.Connection, run: Run, signals_lost: int) -> int:
    """Insert or replace the run; return its number."""
    (number,) = connection.execute(_KEEP_RUN, (*run_row(run), signals_lost)).fetchone()
    return int(number)


def write_probes(
    connection: sqlite3.Connection, names: Iterable[str], known: Mapping[str, int]
) -> dict[str, int]:
    """Give numbers to probes that have none yet; return the numbers of those that were not in `known`."""
    new = {name: escape_string(name) for name in names if name not in known}
    connection.executemany(
        "INSERT INTO probes (name) VALUES (?) ON CONFLICT (name) DO NOTHING",
        [(text,) for text in new.values()],
    )
    select = "SELECT number FROM probes WHERE name = ?"
    return {name: connection.execute(select, (text,)).fetchone()[0] for name, text in new.items()}


def write_evidence(
    connection: sqlite3.Connection, run: int, evidence: Evidence, numbers: Mapping[str, int]
) -> None:
    """Join evidence to what is there of its run."""
    probes = [numbers[name] for name in evidence.probes]
    connection.executemany(_JOIN_EVIDENCE, evidence_rows(evidence, run, probes))


def write_signals(
    connection: sqlite3.Connection, run: int, signals: SignalBatch, numbers: NDArray[np.int64]
) -> None:
    """Append signals as one batch.

    Args:
        connection: within a transaction, so that no other process can insert between.
        run: the number of their run.
        signals: at least one.
        numbers: shape (len(signals.probes),), the number of each probe that occurs in them.
    """
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM signals").fetchone()
    (batch,) = connection.execute(
        "INSERT INTO batches (run, first_signal, last_signal, fields) VALUES (?, ?, ?, ?) RETURNING number",
        (run, last + 1, last + len(signals), describe(signals, numbers)),
    ).fetchone()
    for start in range(0, len(signals), _CHUNK):
        chunk = attrs.evolve(signals, records=signals.records[start : start + _CHUNK])
        same, varying = _columns(chunk, numbers)
        _insert(connection, {"batch": batch, **same}, varying, len(chunk))


def used_probes(signals: SignalBatch) -> NDArray[np.intp]:
    """Return the rows of the table that occur in the signals.

    Raises:
        StoreError: a signal is of no probe of the table, which is a defect of its receiver.
    """
    used = np.zeros(len(signals.probes), np.bool_)
    try:
        used[signals.records["probe"]] = True
    except IndexError as error:
        raise StoreError(
            f"a signal names row {signals.records['probe'].max()} of a table of {len(used)} probes",
            hint="this is a defect of the receiver or of a processor",
        ) from error
    return np.flatnonzero(used)


def _columns(
    signals: SignalBatch, numbers: NDArray[np.int64]
) -> tuple[dict[str, object], dict[str, list[Any]]]:
    """Return the value of each column that is the same for all signals, and the values of the others, a list each."""
    same: dict[str, object] = {}
    varying: dict[str, list[Any]] = {}
    records = signals.records
    for name in SIGNAL_DTYPE.names or ():
        values = numbers[records[name]] if name == "probe" else records[name]
        if _is_one_value(values):
            # Signals that come together are often of one program.
            plain = values[0].item()
            same[name] = escape_bytes(plain) if name == "comm" else plain
        elif name == "comm":
            names = values.tolist()
            texts = {raw: escape_bytes(raw) for raw in set(names)}
            varying[name] = [texts[raw] for raw in names]
        else:
            varying[name] = values.tolist()
    if signals.appended or signals.layouts is not None:
        varying["extra"] = [*to_json(signals)]
    return same, varying


def _is_one_value(values: NDArray[Any]) -> bool:
    # Two words compare faster than a text of 16 bytes.
    words = np.ascontiguousarray(values).view(np.uint64) if values.dtype.kind == "S" else values
    words = words.reshape(len(values), -1)
    return len(words) > 0 and bool((words[-1] == words[0]).all() and (words == words[0]).all())


def _insert(
    connection: sqlite3.Connection, same: Mapping[str, object], varying: Mapping[str, list[Any]], size: int
) -> None:
    """Insert so many signals; what is the same for all is given to SQLite once a statement, not once a signal."""
    shared, width = tuple(same.values()), len(varying)
    flat: list[object] = [None] * (width * size)
    for i, column in enumerate(varying.values()):
        flat[i::width] = column
    start = 0
    for rows in _ROWS_AT_ONCE:
        stop = size - (size - start) % rows
        step = rows * width
        connection.executemany(
            _insert_signals(rows, tuple(same), tuple(varying)),
            ((*shared, *flat[row * width : row * width + step]) for row in range(start, stop, rows)),
        )
        start = stop


@functools.lru_cache(maxsize=64)
def _insert_signals(rows: int, same: tuple[str, ...], varying: tuple[str, ...]) -> str:
    """Return an INSERT of that many signals; the first parameters are those that all of them share."""
    shared = [f"?{1 + i}" for i in range(len(same))]
    own = itertools.count(1 + len(same))
    values = ", ".join(f"({', '.join([*shared, *(f'?{next(own)}' for _ in varying)])})" for _ in range(rows))
    return f"INSERT INTO signals ({', '.join([*same, *varying])}) VALUES {values}"  # noqa: S608 - column names and numbers only
