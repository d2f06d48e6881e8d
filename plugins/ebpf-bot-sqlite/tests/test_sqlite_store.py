"""The store passes the kit, and keeps its own promises: one file, documented views, clear errors."""

from __future__ import annotations

from pathlib import Path

from ebpf_bot_sqlite import SqliteOptions, SqliteStore

from ebpf_bot_core import SignalStore
from ebpf_bot_core.testing import StoreDiskTests, StoreTests


class TestSqliteStore(StoreTests, StoreDiskTests):
    def open_store(self, path: Path) -> SignalStore:
        return SqliteStore(SqliteOptions(path=str(path)))
