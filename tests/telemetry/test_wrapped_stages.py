"""A stage that is wrapped in its telemetry still keeps every promise of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ebpf_bot_simulated import SimulatedInjection, SimulatedInjector, SimulatedOptions, SimulatedReceiver

from ebpf_bot_core import Injection, Mode, ProbeInjector, SignalProcessor, SignalReceiver, SignalStore
from ebpf_bot_core.stores.memory import MemoryStore
from ebpf_bot_core.telemetry.instruments import Instruments
from ebpf_bot_core.telemetry.stages import (
    TracedInjection,
    TracedInjector,
    TracedProcessor,
    TracedReceiver,
    TracedStore,
)
from ebpf_bot_core.testing import InjectorTests, ProcessorTests, StoreRecordTests

from .third_party import DropsSyscalls

QUIET = SimulatedOptions(
    rates={"*": 0.0},
    faults={"*no?such*": "not-found", "*:lock_try": "unsupported-instruction"},
    wait=False,
)


class TestTracedInjector(InjectorTests):
    modes = frozenset(Mode)

    def make_injector(self) -> ProbeInjector:
        return TracedInjector(SimulatedInjector(QUIET), "simulated", Instruments())

    def make_receiver(self) -> SignalReceiver:
        return TracedReceiver(SimulatedReceiver(), "simulated", Instruments())

    def patterns(self) -> Sequence[str]:
        return ["uprobe:checkout:p*", "syscall:open*", "tracepoint:sched:sched_s*", "usdt:checkout:order:*"]

    def stubborn(self) -> str:
        return "uprobe:/usr/lib/libspin.so.1:lock_try"

    def trigger(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        assert isinstance(injection, TracedInjection)
        assert isinstance(injection.inner, SimulatedInjection)
        with injection.follow():
            injection.inner.fire(injection.probes.positions(probes), times)


class TestTracedProcessor(ProcessorTests):
    def make_processor(self) -> SignalProcessor:
        return TracedProcessor(DropsSyscalls(), "drops", Instruments())


class TestTracedStore(StoreRecordTests):
    kept: ClassVar[dict[Path, MemoryStore]] = {}

    def open_store(self, path: Path) -> SignalStore:
        return TracedStore(self.kept.setdefault(path, MemoryStore()), "memory", Instruments())
