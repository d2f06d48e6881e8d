"""Opens the database: to read without changing anything, or to write, making it where it is not there yet."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path

from ebpf_bot_core import StoreError
from ebpf_bot_sqlite.failures import LOCK_SECONDS, reading, writing
from ebpf_bot_sqlite.schema import State, create, state_of

__all__ = ["open_to_read", "open_to_write"]


def open_to_read(path: str) -> sqlite3.Connection:
    """Return a connection that can only read; nothing is created, and no writer is kept waiting.

    Raises:
        StoreError: there is no store, or no readable one.
    """
    if not _is_there(path):
        raise _missing(path)
    with reading(path):
        if _may_write(path):
            # Only a connection that could write takes the write-ahead log and its index away when it is the last.
            connection = _checked(path, "mode=rw")
            connection.execute("PRAGMA query_only = ON")
            return connection
        try:
            return _checked(path, "mode=ro")
        except sqlite3.OperationalError:
            # In a read-only directory SQLite cannot make the index of the log. Without a log there is no need for
            # one: the file is complete.
            if Path(f"{path}-wal").exists():
                raise
            return _checked(path, "mode=ro&immutable=1")


def open_to_write(path: str) -> sqlite3.Connection:
    """Return a connection to a database that has its tables and is in write-ahead mode.

    Raises:
        StoreError: it cannot be made or written, or is something else.
    """
    _is_there(path)
    with writing(path):
        connection = _connect(path, "mode=rwc")
        try:
            state_of(connection, path)
            _use_write_ahead_log(connection)
            # A commit reaches the kernel with the log's write(2), so it survives the process; fsync is left to
            # checkpoints, so a power failure may cost the last commits, but never the database.
            connection.execute("PRAGMA synchronous = NORMAL")
            create(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _is_there(path: str) -> bool:
    """Say whether there is a file; StoreError for what can be none."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        directory = Path(path).absolute().parent
        if not directory.is_dir():
            raise StoreError(
                f"cannot use store {path}: there is no directory {directory}",
                hint="make the directory, or choose another path with --store sqlite:PATH",
            ) from None
        return False
    except OSError as error:
        raise StoreError(
            f"cannot use store {path}: {error.strerror}", hint="choose another path with --store sqlite:PATH"
        ) from error
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise StoreError(
            f"cannot use store {path}: it is {what}", hint="choose another path with --store sqlite:PATH"
        )
    return True


def _may_write(path: str) -> bool:
    return os.access(path, os.W_OK) and os.access(Path(path).absolute().parent, os.W_OK)


def _missing(path: str) -> StoreError:
    return StoreError(f"no store at {path}", hint="run `ebpf-bot run` first, or give the path of its store")


def _connect(path: str, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?{mode}", uri=True, timeout=LOCK_SECONDS, isolation_level=None
    )


def _checked(path: str, mode: str) -> sqlite3.Connection:
    connection = _connect(path, mode)
    try:
        state = state_of(connection, path)
    except BaseException:
        connection.close()
        raise
    if state is State.BLANK:
        connection.close()
        raise _missing(path)
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # The switch needs the file alone for a moment, and SQLite does not wait for that on its own.
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
