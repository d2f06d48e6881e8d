"""Says in one line each what went wrong with a database, and what to do about it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from ebpf_bot_core import StoreError

__all__ = ["LOCK_SECONDS", "reading", "writing"]

LOCK_SECONDS: Final = 10.0
"""How long a save waits for another process's save to end."""

_ELSEWHERE: Final = "choose another path with --store sqlite:PATH"

_CAUSES: Final = {
    sqlite3.SQLITE_BUSY: (
        f"another process has kept it locked for {LOCK_SECONDS:.0f} s",
        f"end that process (`fuser PATH` names it), or {_ELSEWHERE}",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened here",
        f"make the file and its directory readable and writable for this user, or {_ELSEWHERE}",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the database is damaged",
        f"`sqlite3 PATH .recover` saves what can be saved; {_ELSEWHERE}",
    ),
    sqlite3.SQLITE_FULL: ("the disk is full", f"free some space, or {_ELSEWHERE}; what was saved is kept"),
    sqlite3.SQLITE_IOERR: (
        "the disk, or the limit on file sizes, does not allow it",
        f"see `df` and `ulimit -f`, or {_ELSEWHERE}; what was saved is kept",
    ),
    sqlite3.SQLITE_NOTADB: ("it is not an SQLite database", f"it was left alone; {_ELSEWHERE}"),
    sqlite3.SQLITE_READONLY: (
        "it is read-only",
        f"make the file and its directory writable for this user, or {_ELSEWHERE}",
    ),
}


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what goes wrong in reading the database into a StoreError; `path` is as the user wrote it."""
    with _explained(path, "read"):
        try:
            yield
        except (KeyError, OverflowError, ValueError) as error:
            raise StoreError(
                f"cannot read store {path}: it holds something that this version does not know ({error})",
                hint=f"was it changed by hand, or written by a newer version? {_ELSEWHERE}",
            ) from error


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn what goes wrong in writing the database into a StoreError; `path` is as the user wrote it."""
    with _explained(path, "write"):
        try:
            yield
        except OverflowError as error:
            raise StoreError(
                f"cannot write store {path}: a count is beyond 63 bits",
                hint="SQLite holds no larger integers; the store `file` does",
            ) from error


@contextlib.contextmanager
def _explained(path: str, doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the primary code; the others say more than a user can act on.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        unknown = what, f"is this SQLite too old, or was the file changed by hand? {_ELSEWHERE}"
        cause, hint = _CAUSES.get(code, unknown)
        raise StoreError(f"cannot {doing} store {path}: {cause}", hint=hint) from error
