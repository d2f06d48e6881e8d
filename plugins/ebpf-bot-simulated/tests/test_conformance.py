"""The simulated backend keeps every promise of the kit."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf_bot_simulated import SimulatedInjection, SimulatedInjector, SimulatedOptions, SimulatedReceiver

from ebpf_bot_core import Injection, Mode, ProbeInjector, SignalReceiver
from ebpf_bot_core.testing import InjectorTests

# Nothing fires unless a test says so, and exact names are not all taken at their word.
QUIET = SimulatedOptions(
    rates={"*": 0.0},
    faults={"*no?such*": "not-found", "*:lock_try": "unsupported-instruction"},
    wait=False,
)


class TestSimulated(InjectorTests):
    modes = frozenset(Mode)

    def make_injector(self) -> ProbeInjector:
        return SimulatedInjector(QUIET)

    def make_receiver(self) -> SignalReceiver:
        return SimulatedReceiver()

    def patterns(self) -> Sequence[str]:
        return ["uprobe:checkout:p*", "syscall:open*", "tracepoint:sched:sched_s*", "usdt:checkout:order:*"]

    def stubborn(self) -> str:
        return "uprobe:/usr/lib/libspin.so.1:lock_try"

    def trigger(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        assert isinstance(injection, SimulatedInjection)
        with injection.follow():
            injection.fire(injection.probes.positions(probes), times)
