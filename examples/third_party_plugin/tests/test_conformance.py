"""The three stages keep every promise of the kit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from acme_ebpf_bot.bpftrace_log import LogInjector, LogReceiver
from acme_ebpf_bot.records import RecordStore
from acme_ebpf_bot.threads import OnlyThreads

from ebpf_bot_core import (
    Injection,
    Mode,
    ProbeInjector,
    ProbeTable,
    Scope,
    SignalProcessor,
    SignalReceiver,
    SignalStore,
)
from ebpf_bot_core.testing import InjectorTests, ProcessorTests, StoreTests, sample_batch, sample_probes

PROBES = ["uprobe:/usr/bin/gzip:deflate", "uprobe:/usr/bin/gzip:inflate", "uprobe:/usr/bin/gzip:main"]


class TestOnlyThreads(ProcessorTests):
    def make_processor(self) -> SignalProcessor:
        return OnlyThreads(["gzip"])

    def test_keeps_the_signals_of_matching_threads(self) -> None:
        batch = sample_batch(sample_probes(), 10)
        assert {signal.comm for signal in batch} == {"gzip", "kworker/0:1-mm_"}
        assert {signal.comm for signal in OnlyThreads(["kwork*"]).process(batch)} == {"kworker/0:1-mm_"}


class TestRecordStore(StoreTests):
    def open_store(self, path: Path) -> SignalStore:
        return RecordStore(str(path))


class TestBpftraceLog(InjectorTests):
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path) -> None:
        self.listing, self.log = tmp_path / "listing", tmp_path / "log"
        self.listing.write_text("\n".join(PROBES))

    def make_injector(self) -> ProbeInjector:
        return LogInjector(str(self.listing), str(self.log))

    def make_receiver(self) -> SignalReceiver:
        return LogReceiver()

    def patterns(self) -> Sequence[str]:
        return ["uprobe:/usr/bin/gzip:*"]

    def trigger(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        with injection.follow(), self.log.open("a") as log:
            log.writelines(f"{probe}\n" * times for probe in probes)

    def test_takes_no_half_lines(self) -> None:
        probes = ProbeTable.of(PROBES)
        with LogInjector(str(self.listing), str(self.log)).open(
            probes, scope=Scope.HOST, mode=Mode.COUNT, keep=True
        ) as injection:
            injection.attach(np.arange(len(probes)))
            for text, hits in ((PROBES[0][:10], 0), (PROBES[0][10:], 0), ("\n", 1)):
                with self.log.open("a") as log:
                    log.write(text)
                assert injection.collect().total == hits
