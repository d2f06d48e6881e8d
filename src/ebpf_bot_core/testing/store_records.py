"""What every store promises of the records it is given: they come back, all of them, as they were."""

from __future__ import annotations

import abc
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpf_bot_core.errors import StoreError
from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.layouts import UNRECORDED
from ebpf_bot_core.probe import ProbeTable
from ebpf_bot_core.run import Run
from ebpf_bot_core.signal import SIGNAL_DTYPE, SignalBatch
from ebpf_bot_core.stages import SignalStore
from ebpf_bot_core.testing.payloads import payload_batches, sample_payloads
from ebpf_bot_core.testing.same import plain_signals
from ebpf_bot_core.testing.samples import (
    batches,
    evidence,
    runs,
    sample_batch,
    sample_evidence,
    sample_probes,
    sample_run,
)
from ebpf_bot_core.testing.store_machine import run_store_machine
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["StoreRecordTests"]

_property = settings(
    max_examples=40,
    deadline=None,  # stores touch disks, and disks stall
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
)


class StoreRecordTests(abc.ABC):
    """Tests that hold for every store, also for one that keeps nothing on disk."""

    @abc.abstractmethod
    def open_store(self, path: Path) -> SignalStore:
        """Return a store at `path`, which may not exist yet; the directory that it lies in does.

        Opening the same path again must show what was saved there before. The tests close what they open.
        """

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Where a test keeps its store; nothing is there yet."""
        return tmp_path / "store"

    def save(self, path: Path, *records: tuple[Run, SignalBatch, Evidence]) -> None:
        """Save records, then close the store."""
        with contextlib.closing(self.open_store(path)) as store:
            for record in records:
                store.save(*record)

    def test_is_a_signal_store(self, path: Path) -> None:
        """It has every method that the pipeline calls."""
        with contextlib.closing(self.open_store(path)) as store:
            assert isinstance(store, SignalStore)

    def test_a_run_comes_back_equal(self, path: Path) -> None:
        """Every field of a run comes back, of its own type."""
        bare = Run("bare", "simulated", "", "", sample_run().host)
        probes = sample_probes()
        for run in (sample_run(7), bare):
            self.save(path, (run, SignalBatch.empty(probes), sample_evidence(probes)))
        with contextlib.closing(self.open_store(path)) as store:
            by_id = {run.id: run for run in store.runs()}
        assert by_id == {"bare": bare, sample_run(7).id: sample_run(7)}
        assert all(type(run.command) is tuple for run in by_id.values())

    def test_a_command_of_any_bytes_comes_back(self, path: Path) -> None:
        """Linux arguments are bytes; those that are no UTF-8 reach Python as lone surrogates."""
        run = sample_run(command=("rm", os.fsdecode(b"caf\xe9 \\xe9"), "two\nlines", ""))
        probes = sample_probes()
        self.save(path, (run, sample_batch(probes), sample_evidence(probes)))
        with contextlib.closing(self.open_store(path)) as store:
            assert store.runs() == [run]

    def test_the_newest_record_of_a_run_counts(self, path: Path) -> None:
        """Saving a run again replaces what was known of it, and nothing else."""
        first, other = sample_run(1, steps=1, exit_status=None, finished=False), sample_run(2)
        newest = attrs.evolve(first, steps=2, exit_status=0, finished=True)
        probes = sample_probes()
        for run in (first, other, newest):
            self.save(path, (run, SignalBatch.empty(probes), sample_evidence(probes)))
        with contextlib.closing(self.open_store(path)) as store:
            assert store.runs() == [newest, other]

    def test_runs_come_oldest_first(self, path: Path) -> None:
        """The order is that in which they started, whatever their ids."""
        probes = sample_probes()
        started = [sample_run(number, id=id_) for number, id_ in enumerate("mazbyc")]
        for run in started:
            self.save(path, (run, SignalBatch.empty(probes), sample_evidence(probes)))
        with contextlib.closing(self.open_store(path)) as store:
            assert store.runs() == started

    def test_evidence_comes_back_joined(self, path: Path) -> None:
        """A verdict brings its own reason and detail, whichever record came last; counts are the highest seen."""
        probes = ("kprobe:up", "kprobe:tie", "kprobe:down")
        steps = [
            ((Verdict.PENDING, ""), (Verdict.REFUSED, "b"), (Verdict.BLIND, "kept")),
            ((Verdict.SILENT, "climbed"), (Verdict.REFUSED, "c"), (Verdict.SILENT, "zz")),
            ((Verdict.SILENT, ""), (Verdict.REFUSED, "a"), (Verdict.PENDING, "")),
        ]
        saved = [
            Evidence.stating(
                [
                    (probe, verdict, Reason.ATTACH_FAILED, detail)
                    for probe, (verdict, detail) in zip(probes, step, strict=True)
                ]
            )
            for step in steps
        ]
        self._saved_one_by_one_equals_joined(path, saved)
        with contextlib.closing(self.open_store(path)) as store:
            assert [row.detail for row in store.evidence("x")] == ["climbed", "c", "kept"]

    @given(saved=st.lists(evidence(), min_size=1, max_size=4))
    @_property
    def test_any_evidence_comes_back_joined(
        self, tmp_path_factory: pytest.TempPathFactory, saved: list[Evidence]
    ) -> None:
        """The evidence of a run is the join of what was saved, over tables of any size and order."""
        self._saved_one_by_one_equals_joined(tmp_path_factory.mktemp("any") / "store", saved)

    def _saved_one_by_one_equals_joined(self, path: Path, saved: Sequence[Evidence]) -> None:
        joined = saved[0]
        for some in saved[1:]:
            joined = joined.join(some)
        run = sample_run(id="x")
        self.save(path, *((run, SignalBatch.empty(some.probes), some) for some in saved))
        with contextlib.closing(self.open_store(path)) as store:
            assert store.evidence("x") == joined

    def test_a_record_saved_again_adds_no_evidence(self, path: Path) -> None:
        """Joining what is known already changes nothing."""
        record = sample_run(), SignalBatch.empty(sample_probes()), sample_evidence(sample_probes(), hits=5)
        self.save(path, record, record)
        self.save(path, record)
        with contextlib.closing(self.open_store(path)) as store:
            assert store.evidence(sample_run().id) == record[2]

    def test_pending_probes_are_kept(self, path: Path) -> None:
        """A probe of which nothing is known is still expected, so it must not drop out."""
        pending = Evidence.pending(sample_probes(3))
        self.save(path, (sample_run(), SignalBatch.empty(pending.probes), pending))
        with contextlib.closing(self.open_store(path)) as store:
            assert store.evidence(sample_run().id) == pending

    def test_the_number_of_lost_signals_is_kept(self, path: Path) -> None:
        """The highest count is, also where evidence has no rows."""
        none = ProbeTable(())
        for lost in (3, 7, 5):
            lossy = attrs.evolve(Evidence.pending(none), signals_lost=lost)
            self.save(path, (sample_run(), SignalBatch.empty(none), lossy))
        with contextlib.closing(self.open_store(path)) as store:
            assert store.evidence(sample_run().id).signals_lost == 7

    def test_evidence_is_not_shared(self, path: Path) -> None:
        """Evidence grows; neither what was handed in nor what was handed out may change what is kept."""
        given_in = sample_evidence(sample_probes(), hits=2)
        kept = given_in.copy()
        with contextlib.closing(self.open_store(path)) as store:
            store.save(sample_run(), SignalBatch.empty(given_in.probes), given_in)
            given_in.columns["hits"] = 99
            handed_out = store.evidence(sample_run().id)
            handed_out.columns["hits"] = 98
            assert store.evidence(sample_run().id) == kept

    def test_signals_come_back_in_order(self, path: Path) -> None:
        """All of them, as often as they were saved, in the order in which they were; each run has its own."""
        probes = sample_probes()
        saved = [sample_batch(probes, size, count=size) for size in (3, 1, 1000, 3)]
        one, other = sample_run(1), sample_run(2)
        for batch in saved:
            self.save(path, (one, batch, sample_evidence(probes)))
            self.save(path, (other, sample_batch(probes, 2), sample_evidence(probes)))
        with contextlib.closing(self.open_store(path)) as store:
            assert plain_signals(store.signals(one.id)) == plain_signals(saved)
            assert sum(len(batch) for batch in store.signals(other.id)) == 2 * len(saved)

    def test_thread_names_are_bytes(self, path: Path) -> None:
        """A thread may call itself anything; what is no UTF-8, or looks like an escape, comes back as it was."""
        probes = sample_probes()
        batch = sample_batch(probes, 6)
        batch.records["comm"] = [b"\xff\xfe", "naïve".encode(), b"\\xff", b'"}\n', b"a\0b", b"x" * 16]
        self.save(path, (sample_run(), batch, sample_evidence(probes)))
        with contextlib.closing(self.open_store(path)) as store:
            stored = [
                comm for some in store.signals(sample_run().id) for comm in some.records["comm"].tolist()
            ]
        assert stored == batch.records["comm"].tolist()

    def test_appended_fields_are_kept(self, path: Path) -> None:
        """A receiver's own fields come back with their names, types and values, beside batches without any."""
        probes = sample_probes()
        plain = sample_batch(probes, 3)
        fields: list[Any] = [("latency", "<f8"), ("address", "<u8"), ("argument", "S9"), ("stack", "(3,)<u8")]
        records = np.zeros(3, np.dtype([*SIGNAL_DTYPE.descr, *fields]))
        for name in SIGNAL_DTYPE.names or ():
            records[name] = plain.records[name]
        records["latency"] = [np.nan, -np.inf, 1e-320]
        records["address"] = [0, 2**64 - 1, 0xFFFF_8880_0000_0001]
        records["argument"] = [b"/etc/\xff", b"", b"a\\b"]
        records["stack"] = np.arange(9).reshape(3, 3)
        saved = [plain, SignalBatch(probes, records), plain]
        self.save(path, *((sample_run(), batch, sample_evidence(probes)) for batch in saved))
        with contextlib.closing(self.open_store(path)) as store:
            assert plain_signals(store.signals(sample_run().id)) == plain_signals(saved)

    def test_payloads_are_kept(self, path: Path) -> None:
        """What a payload says comes back for each signal, with its names and types, beside batches without any."""
        probes = sample_probes()
        saved = [sample_payloads(probes), sample_batch(probes), sample_payloads(probes, 2)]
        saved[0].records["cpu"][2:4] = (
            -1,
            UNRECORDED,
        )  # one of a CPU that is not known, and one that left no record
        self.save(path, *((sample_run(), batch, sample_evidence(probes)) for batch in saved))
        with contextlib.closing(self.open_store(path)) as store:
            assert plain_signals(store.signals(sample_run().id)) == plain_signals(saved)

    @given(saved=st.lists(batches() | payload_batches(), min_size=1, max_size=3))
    @_property
    def test_any_signals_come_back(
        self, tmp_path_factory: pytest.TempPathFactory, saved: list[SignalBatch]
    ) -> None:
        """Whatever the table, the fields and the values."""
        path = tmp_path_factory.mktemp("any") / "store"
        self.save(path, *((sample_run(), batch, Evidence.pending(batch.probes)) for batch in saved))
        with contextlib.closing(self.open_store(path)) as store:
            assert plain_signals(store.signals(sample_run().id)) == plain_signals(saved)

    @given(run=runs())
    @_property
    def test_any_run_comes_back(self, tmp_path_factory: pytest.TempPathFactory, run: Run) -> None:
        """Whatever is in its fields; ids are no file names."""
        path = tmp_path_factory.mktemp("any") / "store"
        probes = sample_probes()
        self.save(path, (run, sample_batch(probes), sample_evidence(probes)))
        with contextlib.closing(self.open_store(path)) as store:
            assert store.runs() == [run]
            assert store.evidence(run.id) == sample_evidence(probes)
            assert sum(len(batch) for batch in store.signals(run.id)) == len(sample_batch(probes))

    @pytest.mark.parametrize("where", ["hits", "opportunities", "count"])
    def test_counts_of_64_bits_are_kept_or_refused(self, path: Path, where: str) -> None:
        """A count that the store cannot hold is refused with the whole record; none comes back as another."""
        probes = sample_probes()
        known, batch = sample_evidence(probes), sample_batch(probes)
        self.save(path, (sample_run(), batch, known))
        big, big_batch = known.copy(), sample_batch(probes)
        (big_batch.records if where == "count" else big.columns)[where][0] = 2**64 - 1
        saved, joined = [batch], known
        with contextlib.suppress(StoreError):
            self.save(path, (sample_run(), big_batch, big))
            saved, joined = [batch, big_batch], known.join(big)
        with contextlib.closing(self.open_store(path)) as store:
            assert store.evidence(sample_run().id) == joined
            assert plain_signals(store.signals(sample_run().id)) == plain_signals(saved)

    def test_an_unknown_run_is_an_error(self, path: Path) -> None:
        """Asked for a run that it does not have, it says so, and never makes one up."""
        probes = sample_probes()
        self.save(path, (sample_run(), sample_batch(probes), sample_evidence(probes)))
        with contextlib.closing(self.open_store(path)) as store:
            with pytest.raises(StoreError, match="no such run"):
                store.evidence("no such run")
            with contextlib.suppress(StoreError):
                assert list(store.signals("no such run")) == []

    def test_closing_twice_is_allowed(self, path: Path) -> None:
        """Whether it was used or not."""
        unused = self.open_store(path)
        unused.close()
        unused.close()
        used = self.open_store(path)
        used.save(sample_run(), SignalBatch.empty(sample_probes()), sample_evidence(sample_probes()))
        used.close()
        used.close()

    def test_behaves_like_a_dictionary(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Any sequence of saving, reading and opening again shows what a dictionary of runs would show."""
        run_store_machine(self.open_store, tmp_path_factory)
