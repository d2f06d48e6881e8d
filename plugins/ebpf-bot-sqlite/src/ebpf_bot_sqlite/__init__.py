"""A store for ebpf-bot in one SQLite file, with documented views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpf_bot_sqlite.options import SqliteOptions

if TYPE_CHECKING:
    from ebpf_bot_sqlite.store import SqliteStore

__all__ = ["SqliteOptions", "SqliteStore"]


def __getattr__(name: str) -> Any:
    # The plugin is imported by every command; only those that use the store pay for numpy and SQLite.
    if name != "SqliteStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ebpf_bot_sqlite.store import SqliteStore  # noqa: PLC0415

    return SqliteStore
