"""The store passes the kit."""

from __future__ import annotations

from pathlib import Path

from ebpf_bot_file import FileOptions, FileStore

from ebpf_bot_core import SignalStore
from ebpf_bot_core.testing import StoreDiskTests, StoreTests


class TestFileStore(StoreTests, StoreDiskTests):
    def open_store(self, path: Path) -> SignalStore:
        return FileStore(FileOptions(path=str(path)))


class TestFileStoreOfSmallSegments(StoreTests, StoreDiskTests):
    def open_store(self, path: Path) -> SignalStore:
        return FileStore(FileOptions(path=str(path), segment_bytes=4096))
