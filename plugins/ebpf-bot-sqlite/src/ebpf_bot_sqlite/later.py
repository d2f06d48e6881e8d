"""Columns that came later: databases of earlier versions are read as they are, and get the columns when written to.

Old code reads and writes a database with such columns as before, so the format keeps its number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

__all__ = ["add_columns", "selected"]

_LATER: Final = {
    "runs": {"overhead_ratio": ("REAL", "NULL")},
    "evidence": {"cost_ns": ("INTEGER NOT NULL DEFAULT 0", "0")},
}
"""{table: {column: (its type, what it reads as where it is missing)}}."""

_VIEWS: Final = ("gaps", "coverage", "run_totals")
"""Those that show such columns, the ones that are built on others first."""


def selected(connection: sqlite3.Connection, table: str, columns: Iterable[str]) -> str:
    """Return what to select for some columns of a table, the missing ones as what they read as."""
    missing = _missing(connection, table)
    return ", ".join(missing.get(column, column) for column in columns)


def add_columns(connection: sqlite3.Connection) -> None:
    """Add what is missing, within the caller's transaction; views that lack it are dropped, to be made anew."""
    added = False
    for table, columns in _LATER.items():
        for column in _missing(connection, table):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {columns[column][0]}")
            added = True
    if added:
        for view in _VIEWS:
            connection.execute(f"DROP VIEW IF EXISTS {view}")


def _missing(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return what the missing columns of a table read as; none are missing of a table that is not there."""
    there = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
    if not there:
        return {}
    return {column: value for column, (_, value) in _LATER[table].items() if column not in there}
