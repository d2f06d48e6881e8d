"""Makes the tables and views, and tells an own database from a foreign one."""

from __future__ import annotations

import enum
import sqlite3
from importlib import resources
from typing import Final

from ebpf_bot_core import Reason, StoreError, Verdict
from ebpf_bot_sqlite.later import add_columns

__all__ = ["APPLICATION_ID", "VERSION", "State", "create", "state_of"]

APPLICATION_ID: Final = int.from_bytes(b"eBot", "big")
"""Stands in the header of every database of this store, where `file` and SQLite show it."""

VERSION: Final = 1
"""The format of the tables, kept as the database's user_version; a change that old code cannot read raises it."""


class State(enum.Enum):
    """What a database file holds."""

    BLANK = enum.auto()
    """Nothing at all: it was just made, or its maker was killed before its first save."""
    OURS = enum.auto()


def state_of(connection: sqlite3.Connection, path: str) -> State:
    """Say whether the database is blank or a store of this format.

    Raises:
        StoreError: it belongs to another program, or to a newer version of this one.
        sqlite3.Error: it cannot be read; the connection is of no use then.
    """
    # Within one transaction, since another process may be making the tables at this moment.
    connection.execute("BEGIN")
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("ROLLBACK")
    if application == APPLICATION_ID and version > VERSION:
        raise StoreError(
            f"store {path} has format {version}, and this version knows formats up to {VERSION}",
            hint="upgrade ebpf-bot-sqlite, or choose another path with --store sqlite:PATH",
        )
    if application == APPLICATION_ID:
        return State.OURS
    if application == 0 and version == 0 and objects == 0:
        return State.BLANK
    raise StoreError(
        f"{path} is the database of another program",
        hint="it was left alone; choose another path with --store sqlite:PATH",
    )


def create(connection: sqlite3.Connection) -> None:
    """Make what is missing of the tables and views, and write down today's words for verdicts and reasons."""
    connection.execute("BEGIN IMMEDIATE")
    add_columns(connection)
    connection.execute("COMMIT")
    statements = resources.files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
    # One script, since executescript would commit a transaction that was begun before it.
    connection.executescript(
        f"BEGIN IMMEDIATE; {statements}; PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {VERSION}; COMMIT"
    )
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT OR REPLACE INTO verdicts (number, word) VALUES (?, ?)",
        [(int(verdict), verdict.label) for verdict in Verdict],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO reasons (number, word, hint) VALUES (?, ?, ?)",
        [(int(reason), reason.code, reason.hint) for reason in Reason],
    )
    connection.execute("COMMIT")
