"""What a store on disk promises when the disk is full or read-only, tried on real file systems."""

from __future__ import annotations

import abc
import contextlib
import functools
from pathlib import Path

import pytest

from ebpf_bot_core.stages import SignalStore
from ebpf_bot_core.testing.disks import make_read_only, mount_small_disk
from ebpf_bot_core.testing.numbered import count_records, must_refuse, numbered_record, save_until_full
from ebpf_bot_core.testing.processes import in_child
from ebpf_bot_core.testing.samples import sample_run

__all__ = ["StoreDiskTests"]


class StoreDiskTests(abc.ABC):
    """Mix this in beside `StoreTests` where the tests run as root on Linux; elsewhere its tests are skipped."""

    @abc.abstractmethod
    def open_store(self, path: Path) -> SignalStore:
        """As for `StoreTests`."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Path:
        """Where a child mounts its disk."""
        self._save_one(tmp_path / "warm-up")  # so that the child need import nothing
        disk = tmp_path / "disk"
        disk.mkdir()
        return disk

    def _save_one(self, path: Path) -> None:
        with contextlib.closing(self.open_store(path)) as store:
            store.save(*numbered_record(sample_run(), 1))

    @pytest.mark.parametrize("left", [0, 1, 4_000, 10_000, 30_000, 50_000])
    def test_when_the_disk_is_full_nothing_half_written_stays(self, disk: Path, left: int) -> None:
        """However much of a record still fits: the save is refused, what was there is read, and space mends it."""
        run = sample_run()

        def fill_and_free() -> None:
            mount_small_disk(disk, kibibytes=1_024)
            ballast = disk / "ballast"
            ballast.write_bytes(b"x" * (400_000 - left))
            store = self.open_store(disk / "store")
            saved = save_until_full(store, run, 0, at_most=50)
            must_refuse(functools.partial(store.save, *numbered_record(run, saved + 1)))
            assert count_records(store, run.id) == saved
            ballast.unlink()
            store.save(*numbered_record(run, saved + 1))
            store.close()
            with contextlib.closing(self.open_store(disk / "store")) as again:
                assert count_records(again, run.id) == saved + 1

        in_child(fill_and_free)

    def test_a_first_save_on_a_full_disk_is_refused(self, disk: Path) -> None:
        """Then there is no run, and no error but ours."""

        def fill() -> None:
            mount_small_disk(disk, kibibytes=64)
            with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
                for _ in range(64):
                    ballast.write(b"x" * 1024)
            with contextlib.closing(self.open_store(disk / "store")) as store:
                must_refuse(functools.partial(store.save, *numbered_record(sample_run(), 1)))
                must_refuse(store.runs)

        in_child(fill)

    def test_a_read_only_disk_is_read(self, disk: Path) -> None:
        """Saving there is refused."""
        run = sample_run()

        def save_and_lock() -> None:
            mount_small_disk(disk, kibibytes=1_024)
            self._save_one(disk / "store")
            make_read_only(disk)
            with contextlib.closing(self.open_store(disk / "store")) as store:
                assert count_records(store, run.id) == 1
                must_refuse(functools.partial(store.save, *numbered_record(run, 2)))
                assert count_records(store, run.id) == 1

        in_child(save_and_lock)
