"""What a store on disk promises beside the records: that they survive, and that failures are clean."""

from __future__ import annotations

import contextlib
import functools
import os
import random
from collections.abc import Callable
from pathlib import Path

from ebpf_bot_core.errors import StoreError
from ebpf_bot_core.run import Run
from ebpf_bot_core.testing.numbered import count_records, must_refuse, numbered_record, save_until_full
from ebpf_bot_core.testing.processes import files_at_most, in_child, in_children, killed_child
from ebpf_bot_core.testing.samples import sample_run
from ebpf_bot_core.testing.store_records import StoreRecordTests

__all__ = ["StoreTests"]

_NOBODY = 65534


class StoreTests(StoreRecordTests):
    """Subclass this, give it `open_store`, and every promise of `SignalStore` is a test.

    Example:
        class TestParquetStore(StoreTests):
            def open_store(self, path):
                return ParquetStore(ParquetOptions(path=str(path)))
    """

    def test_a_store_that_is_not_there_is_an_error(self, path: Path) -> None:
        """Reading says so, gives a hint, and makes nothing."""
        with contextlib.closing(self.open_store(path)) as store:
            for read in (
                store.runs,
                lambda: store.evidence("some run"),
                lambda: list(store.signals("some run")),
            ):
                must_refuse(read)
        assert not list(path.parent.iterdir())

    def test_a_missing_directory_is_an_error(self, path: Path) -> None:
        """The first save says so; no tree of directories is made out of a spelling mistake."""
        self._refuses_to_save(path / "no" / "such")
        assert not path.exists()

    def test_something_else_in_its_place_is_an_error(self, tmp_path: Path) -> None:
        """A directory with files in it, or a file of something else, is neither taken for a store nor changed."""
        directory, file = tmp_path / "directory", tmp_path / "file"
        directory.mkdir()
        (directory / "notes.txt").write_text("mine")
        file.write_text("mine, and longer than any header: " + "x" * 8192)
        before = file.read_bytes()
        for taken in (directory, file):
            with contextlib.closing(self.open_store(taken)) as store:
                must_refuse(store.runs)
        self._refuses_to_save(file)
        assert file.read_bytes() == before
        assert (directory / "notes.txt").read_text() == "mine"

    def test_a_directory_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        """The first save says so, in time to end a run before anything is attached."""
        self.save(
            tmp_path / "warm-up", numbered_record(sample_run(), 1)
        )  # so that the child need import nothing
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)

        def as_an_ordinary_user() -> None:
            if os.geteuid() == 0:
                os.setuid(_NOBODY)
            self._refuses_to_save(locked / "store")

        in_child(as_an_ordinary_user)

    def _refuses_to_save(self, path: Path) -> None:
        with contextlib.closing(self.open_store(path)) as store:
            must_refuse(lambda: store.save(*numbered_record(sample_run(), 1)))

    def test_a_reader_sees_what_another_store_saves(self, path: Path) -> None:
        """Reading needs no turn of its own: it works while a writer has the store open."""
        run = sample_run()
        with contextlib.closing(self.open_store(path)) as writer:
            writer.save(*numbered_record(run, 1))
            with contextlib.closing(self.open_store(path)) as reader:
                for number in (2, 3):
                    writer.save(*numbered_record(run, number))
                    assert in_child(lambda: self._records_in(path, run.id)) == number
                    assert count_records(reader, run.id) == number

    def test_processes_write_different_runs_at_once(self, path: Path) -> None:
        """Their records do not mix, and none is lost."""
        runs = [sample_run(number) for number in range(6)]
        each = 6

        def write(run: Run) -> None:
            self.save(path, *(numbered_record(run, number) for number in range(1, each + 1)))

        in_children([functools.partial(write, run) for run in runs])
        assert [self._records_in(path, run.id) for run in runs] == [each] * len(runs)

    def test_what_was_saved_survives_sigkill(self, path: Path) -> None:
        """All that was acknowledged is there, at most one record more, and of none a half."""
        moments = random.Random(7)  # noqa: S311 - the same moments in every run
        for round_number in range(6):
            run = sample_run(round_number)

            def save_for_ever(acknowledge: Callable[[int], None], run: Run = run) -> None:
                store = self.open_store(path)
                for number in range(1, 100_000):
                    store.save(*numbered_record(run, number))
                    acknowledge(number)

            acknowledged = killed_child(save_for_ever, after=moments.uniform(0, 0.06))
            kept = self._records_in(path, run.id)
            assert acknowledged <= kept <= acknowledged + 1
        with contextlib.closing(self.open_store(path)) as store:
            assert len(store.runs()) == 6

    def test_a_full_disk_keeps_the_record_out_and_the_store_in_use(self, path: Path) -> None:
        """A save that fails keeps nothing of its record; what was there stays readable; later saves work."""
        run = sample_run()

        def fill_and_go_on() -> None:
            store = self.open_store(path)
            saved = 0
            for room in (300, 3_000, 10_000, 0, 20_000, 40_000):
                saved += 1
                store.save(*numbered_record(run, saved))
                with files_at_most(_largest_file(path.parent) + room):
                    saved = save_until_full(store, run, saved, at_most=20)
                assert self._records_in(path, run.id) == saved
            # A store of many small files has had room so far. This leaves less and less, and in the end none.
            for limit in (25_600, 6_400, 1_600, 400):
                with files_at_most(limit):
                    saved = save_until_full(store, run, saved, at_most=1)
                assert count_records(store, run.id) == saved
            with files_at_most(100):
                must_refuse(functools.partial(store.save, *numbered_record(run, saved + 1)))
                assert count_records(store, run.id) == saved
            store.close()
            assert self._records_in(path, run.id) == saved

        in_child(fill_and_go_on)

    def test_a_first_save_that_fails_leaves_no_run(self, path: Path) -> None:
        """Nothing half-made stays behind in its way: the next save makes the store."""

        def fail_then_save() -> None:
            store = self.open_store(path)
            with files_at_most(100):
                must_refuse(lambda: store.save(*numbered_record(sample_run(), 1)))
            with contextlib.suppress(StoreError):
                assert store.runs() == []
            store.save(*numbered_record(sample_run(), 1))
            store.close()
            assert self._records_in(path, sample_run().id) == 1

        in_child(fail_then_save)

    def _records_in(self, path: Path, run_id: str) -> int:
        with contextlib.closing(self.open_store(path)) as store:
            return count_records(store, run_id)


def _largest_file(directory: Path) -> int:
    return max(file.stat().st_size for file in directory.rglob("*") if file.is_file())
