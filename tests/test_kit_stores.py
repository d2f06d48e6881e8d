"""The kit for stores finds the defects that it is there for, and passes a store that has none."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
import pytest

from ebpf_bot_core import SIGNAL_DTYPE, Evidence, ProbeTable, Run, SignalBatch, SignalStore, StoreError
from ebpf_bot_core.testing import StoreTests


class PickleStore:
    """A simple store that keeps every promise: a file a record, which gets its name once it is whole.

    The broken stores below differ from it in one method each.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        self.append((run, signals.probes.names, signals.records, signals.layouts, *_parts(evidence)))

    def append(self, record: object) -> None:
        body = pickle.dumps(record)
        draft = self.path / f"draft-{os.getpid()}"
        try:
            self.path.mkdir(exist_ok=True)
            draft.write_bytes(body)
            self.give_a_number(draft)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}", hint="free some space") from error
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()

    def give_a_number(self, draft: Path) -> None:
        for number in range(len(list(self.path.glob("[0-9]*"))), 100_000):
            with contextlib.suppress(FileExistsError):
                (self.path / f"{number:08}").hardlink_to(draft)
                return

    def records(self) -> Iterator[tuple[Run, SignalBatch, Evidence]]:
        if not self.path.is_dir() or not list(self.path.glob("[0-9]*")):
            raise StoreError(f"no store at {self.path}", hint="run first")
        for file in sorted(self.path.glob("[0-9]*")):
            run, names, records, layouts, *evidence = pickle.loads(file.read_bytes())
            table, columns, details, lost = evidence
            yield (
                run,
                SignalBatch(ProbeTable(names), records, layouts=layouts),
                Evidence(ProbeTable(table), columns, details, lost),
            )

    def runs(self) -> list[Run]:
        newest = {run.id: run for run, _, _ in self.records()}
        return sorted(newest.values(), key=lambda run: run.started)

    def evidence(self, run_id: str) -> Evidence:
        pieces = [evidence for run, _, evidence in self.records() if run.id == run_id]
        if not pieces:
            raise StoreError(f"no run {run_id!r}", hint="list them")
        return self.merged(pieces)

    def merged(self, pieces: list[Evidence]) -> Evidence:
        joined = pieces[0]
        for piece in pieces[1:]:
            joined = joined.join(piece)
        return joined

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        for run, batch, _ in self.records():
            if run.id == run_id:
                yield batch

    def close(self) -> None:
        pass


def _parts(evidence: Evidence) -> tuple[object, ...]:
    return evidence.probes.names, evidence.columns.copy(), dict(evidence.details), evidence.signals_lost


class TestPickleStore(StoreTests):
    def open_store(self, path: Path) -> SignalStore:
        return PickleStore(path)


class ForgetsOnReopening(StoreTests):
    """Each store object knows only what it saved itself."""

    def open_store(self, path: Path) -> SignalStore:
        class Store(PickleStore):
            def __init__(self, path: Path) -> None:
                super().__init__(path)
                self.mine: list[tuple[Run, SignalBatch, Evidence]] = []

            def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
                super().save(run, signals, evidence)
                self.mine.append((run, signals, evidence.copy()))

            def records(self) -> Iterator[tuple[Run, SignalBatch, Evidence]]:
                yield from self.mine

        return Store(path)


class AcknowledgesBeforeWriting(StoreTests):
    """The last record is in memory until the next one comes, or the store is closed or read."""

    def open_store(self, path: Path) -> SignalStore:
        class Store(PickleStore):
            waiting: object = None

            def append(self, record: object) -> None:
                self.flush()
                self.waiting = record

            def flush(self) -> None:
                record, self.waiting = self.waiting, None
                if record is not None:
                    super().append(record)

            def records(self) -> Iterator[tuple[Run, SignalBatch, Evidence]]:
                self.flush()
                yield from super().records()

            def close(self) -> None:
                self.flush()

        return Store(path)


class DropsAppendedFields(StoreTests):
    """Only the fields that every batch has are kept."""

    def open_store(self, path: Path) -> SignalStore:
        class Store(PickleStore):
            def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
                plain = np.zeros(len(signals), SIGNAL_DTYPE)
                for name in SIGNAL_DTYPE.names or ():
                    plain[name] = signals.records[name]
                super().save(run, attrs.evolve(signals, records=plain), evidence)

        return Store(path)


class ReplacesEvidence(StoreTests):
    """The newest row of a probe counts, whatever was known before."""

    def open_store(self, path: Path) -> SignalStore:
        class Store(PickleStore):
            def merged(self, pieces: list[Evidence]) -> Evidence:
                lost = max(piece.signals_lost for piece in pieces)
                rows = {row.probe: (piece, i) for piece in pieces for i, row in enumerate(piece)}
                columns = np.array([piece.columns[i] for piece, i in rows.values()], pieces[0].columns.dtype)
                details = {
                    at: piece.details[i] for at, (piece, i) in enumerate(rows.values()) if i in piece.details
                }
                return Evidence(ProbeTable(tuple(rows)), columns, details, lost)

        return Store(path)


class KeepsHalfARecord(StoreTests):
    """Evidence and signals are written one after the other, and what was written stays when the rest fails."""

    def open_store(self, path: Path) -> SignalStore:
        class Store(PickleStore):
            def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
                super().save(run, SignalBatch.empty(signals.probes), evidence)
                super().save(run, signals, Evidence.pending(ProbeTable(())))

        return Store(path)


class RaisesOtherErrors(StoreTests):
    """What the system says reaches the user as it is."""

    def open_store(self, path: Path) -> SignalStore:
        class Store(PickleStore):
            def append(self, record: object) -> None:
                try:
                    super().append(record)
                except StoreError as error:
                    raise OSError(error.message) from error

            def records(self) -> Iterator[tuple[Run, SignalBatch, Evidence]]:
                try:
                    yield from super().records()
                except StoreError as error:
                    raise OSError(error.message) from error

        return Store(path)


@pytest.mark.parametrize(
    ("broken", "tests"),
    [
        (ForgetsOnReopening, ["test_a_run_comes_back_equal", "test_behaves_like_a_dictionary"]),
        (AcknowledgesBeforeWriting, ["test_what_was_saved_survives_sigkill"]),
        (DropsAppendedFields, ["test_appended_fields_are_kept", "test_any_signals_come_back"]),
        (ReplacesEvidence, ["test_evidence_comes_back_joined", "test_any_evidence_comes_back_joined"]),
        (KeepsHalfARecord, ["test_a_full_disk_keeps_the_record_out_and_the_store_in_use"]),
        (
            RaisesOtherErrors,
            ["test_a_store_that_is_not_there_is_an_error", "test_a_missing_directory_is_an_error"],
        ),
    ],
)
def test_the_kit_fails_a_broken_store(broken: type[StoreTests], tests: list[str], tmp_path: Path) -> None:
    """Pytest collects the class only because its name is given, in a process of its own."""
    report = tmp_path / "report.xml"
    settings = ["-q", "-p", "no:cacheprovider", "-o", f"python_classes={broken.__name__}"]
    places = ["--basetemp", str(tmp_path / "stores"), "--junit-xml", str(report)]
    chosen = [f"{__file__}::{broken.__name__}::{test}" for test in tests]
    subprocess.run(
        [sys.executable, "-m", "pytest", *settings, *places, *chosen],
        capture_output=True,
        check=False,
        timeout=240,
    )
    cases = ET.parse(report).iter("testcase")
    assert {case.attrib["name"] for case in cases if case.find("failure") is not None} == set(tests)
