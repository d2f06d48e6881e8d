"""What a store on disk promises beside the records: that they survive, and that failures are clean."""

from __future__ import annotations

import contextlib
import functools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import pytest

from ebpf_bot_core.errors import StoreError
from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.run import Run
from ebpf_bot_core.signal import SignalBatch
from ebpf_bot_core.stages import SignalStore
from ebpf_bot_core.testing.processes import files_at_most, in_child, in_children, killed_child
from ebpf_bot_core.testing.samples import sample_batch, sample_evidence, sample_probes, sample_run
from ebpf_bot_core.testing.store_records import StoreRecordTests

__all__ = ["StoreTests"]

_PER_RECORD: Final = 600
"""Signals in a numbered record: enough that one takes several pages, so that a kill may fall into the middle."""

_NOBODY: Final = 65534


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
                _refused(read)
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
                _refused(store.runs)
        self._refuses_to_save(file)
        assert file.read_bytes() == before
        assert (directory / "notes.txt").read_text() == "mine"

    def test_a_directory_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        """The first save says so, in time to end a run before anything is attached."""
        self.save(tmp_path / "warm-up", _numbered(sample_run(), 1))  # so that the child need import nothing
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)

        def as_an_ordinary_user() -> None:
            if os.geteuid() == 0:
                os.setuid(_NOBODY)
            self._refuses_to_save(locked / "store")

        in_child(as_an_ordinary_user)

    def _refuses_to_save(self, path: Path) -> None:
        with contextlib.closing(self.open_store(path)) as store:
            _refused(lambda: store.save(*_numbered(sample_run(), 1)))

    def test_a_reader_sees_what_another_store_saves(self, path: Path) -> None:
        """Reading needs no turn of its own: it works while a writer has the store open."""
        run = sample_run()
        with contextlib.closing(self.open_store(path)) as writer:
            writer.save(*_numbered(run, 1))
            with contextlib.closing(self.open_store(path)) as reader:
                for number in (2, 3):
                    writer.save(*_numbered(run, number))
                    assert in_child(lambda: self._records_in(path, run.id)) == number
                    assert _records(reader, run.id) == number

    def test_processes_write_different_runs_at_once(self, path: Path) -> None:
        """Their records do not mix, and none is lost."""
        runs = [sample_run(number) for number in range(3)]
        each = 12

        def write(run: Run) -> None:
            self.save(path, *(_numbered(run, number) for number in range(1, each + 1)))

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
                    store.save(*_numbered(run, number))
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
                store.save(*_numbered(run, saved))
                with files_at_most(_largest_file(path.parent) + room):
                    for _ in range(1_000):
                        try:
                            store.save(*_numbered(run, saved + 1))
                        except StoreError as error:
                            _is_clear(error)
                            break
                        saved += 1
                    else:
                        pytest.fail("the store writes no file, or hides that it cannot")
                    assert _records(store, run.id) == saved
                assert self._records_in(path, run.id) == saved
            store.close()
            assert self._records_in(path, run.id) == saved

        in_child(fill_and_go_on)

    def test_a_first_save_that_fails_leaves_no_run(self, path: Path) -> None:
        """Nothing half-made stays behind in its way: the next save makes the store."""

        def fail_then_save() -> None:
            store = self.open_store(path)
            with files_at_most(100):
                _refused(lambda: store.save(*_numbered(sample_run(), 1)))
            with contextlib.suppress(StoreError):
                assert store.runs() == []
            store.save(*_numbered(sample_run(), 1))
            store.close()
            assert self._records_in(path, sample_run().id) == 1

        in_child(fail_then_save)

    def _records_in(self, path: Path, run_id: str) -> int:
        with contextlib.closing(self.open_store(path)) as store:
            return _records(store, run_id)


def _numbered(run: Run, number: int) -> tuple[Run, SignalBatch, Evidence]:
    """Return the record that is saved as the `number`th, from 1: its number is in every part of it."""
    probes = sample_probes()
    return (
        attrs.evolve(run, steps=number),
        sample_batch(probes, _PER_RECORD, count=number),
        sample_evidence(probes, hits=number, signals_lost=number),
    )


def _records(store: SignalStore, run_id: str) -> int:
    """Return how many numbered records of a run are there, after making sure that each is there whole."""
    (run,) = (run for run in store.runs() if run.id == run_id)
    known = store.evidence(run_id)
    counts = np.concatenate([batch.records["count"] for batch in store.signals(run_id)])
    assert known == sample_evidence(sample_probes(), hits=run.steps, signals_lost=run.steps)
    assert (counts == np.repeat(np.arange(1, run.steps + 1), _PER_RECORD)).all()
    return run.steps


def _refused(use: Callable[[], object]) -> None:
    with pytest.raises(StoreError) as caught:
        use()
    _is_clear(caught.value)


def _is_clear(error: StoreError) -> None:
    """Fail unless the error is one line for people, with a line of advice."""
    assert error.message, "the error has no message"
    assert error.hint, "the error has no hint"
    assert "\n" not in error.message + error.hint, "message and hint are one line each"


def _largest_file(directory: Path) -> int:
    return max(file.stat().st_size for file in directory.rglob("*") if file.is_file())
