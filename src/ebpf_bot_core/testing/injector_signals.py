"""What every receiver must give of what fired."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ebpf_bot_core.errors import BackendError
from ebpf_bot_core.probe import ProbeTable
from ebpf_bot_core.run import Mode, Scope
from ebpf_bot_core.signal import SIGNAL_DTYPE
from ebpf_bot_core.stages import ProbeInjector, SignalReceiver
from ebpf_bot_core.testing.injector_host import InjectorHost, fired, needs, rows

__all__ = ["ScopeTests", "SignalTests"]


class SignalTests(InjectorHost):
    """Promises of `SignalReceiver.receive` and of the batches that it gives."""

    def test_counts_are_exact_where_hits_are_kept(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Every hit is counted once, for the probe that it hit, however receiving is spread over time."""
        one, other = probes[0], probes[1]
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, [one], 7)
            batches = self.received(receiver, injection, 7)
            self.trigger(injection, [one, other], 100)
            batches += self.received(receiver, injection, 200)
            self.expect_hits(fired(batches), {one: 107, other: 100})

    def test_what_fired_is_reported_where_hits_are_not_kept(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Each probe that fired comes with a count of one or more, and no other comes."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=False) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes[1:], 3)
            assert set(fired(self.received(receiver, injection, len(probes) - 1))) == set(probes[1:])

    def test_batches_refer_to_the_table_of_the_injection(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """A batch has the injection's own table, the documented fields, and a count of what was lost."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            assert injection.probes is probes
            injection.attach(rows(probes))
            self.trigger(injection, probes, 1)
            for batch in self.received(receiver, injection, len(probes)):
                assert batch.probes is injection.probes
                for field in SIGNAL_DTYPE.names or ():
                    assert batch.records.dtype[field] == SIGNAL_DTYPE[field]
                assert batch.lost >= 0
                assert (batch.records["count"] >= 1).all()
                assert (batch.records["probe"] < len(probes)).all()

    def test_batches_own_their_memory(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """A batch stays as it is while others are received, and what its reader does to it harms no other."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes[:1], 3)
            first = self.received(receiver, injection, 3)
            before = [batch.records.copy() for batch in first]
            self.trigger(injection, probes[1:2], 2)
            second = self.received(receiver, injection, 2)
            for batch, copy in zip(first, before, strict=True):
                assert (batch.records == copy).all(), "receiving changed a batch that was given out"
            self.expect_hits(fired(second), {probes[1]: 2})
            for batch in [*first, *second]:
                if batch.records.flags.writeable:
                    batch.records[:] = 0
            self.trigger(injection, probes[2:3], 2)
            self.expect_hits(fired(self.received(receiver, injection, 2)), {probes[2]: 2})

    def test_signals_bear_the_time_they_fired(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Times are ns since the Unix epoch, to a second."""
        second = 1_000_000_000
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            begin = time.time_ns()
            self.trigger(injection, probes, 1)
            signals = [s for batch in self.received(receiver, injection, len(probes)) for s in batch]
            end = time.time_ns()
        assert signals
        assert all(begin - second <= signal.time <= end + second for signal in signals)

    @needs(lambda suite: Mode.STREAM in suite.modes)
    def test_a_streamed_signal_is_one_hit(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable
    ) -> None:
        """In stream mode each hit is a record of its own, and says which process it was."""
        with injector.open(probes, scope=Scope.HOST, mode=Mode.STREAM, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes[:2], 5)
            signals = [signal for batch in self.received(receiver, injection, 10) for signal in batch]
        assert {signal.count for signal in signals} == {1}
        assert all(signal.pid > 0 and signal.tid > 0 for signal in signals)

    def test_receive_takes_no_longer_than_it_may(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """With nothing to receive it returns an empty batch when its time is over, to a second."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            for timeout in (0.0, 0.2):
                begin = time.monotonic()
                assert len(receiver.receive(injection, timeout)) == 0
                assert time.monotonic() - begin < timeout + 1

    def test_receive_refuses_a_foreign_injection(self, receiver: SignalReceiver, probes: ProbeTable) -> None:
        """An injection of another backend is a clear error and not a guess."""
        foreign: Any = _Foreign(probes)
        with pytest.raises(BackendError):
            receiver.receive(foreign, 0)

    def test_inspect_speaks_of_the_whole_table(
        self, injector: ProbeInjector, probes: ProbeTable, mode: Mode
    ) -> None:
        """There is a row for each probe, in the table's order, attached or not; hits are not its business."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=False) as injection:
            for some in (rows(probes)[:0], rows(probes)[:1], rows(probes)):
                injection.attach(some)
                known = injection.inspect()
                assert known.probes.names == probes.names
                assert not known.fired.any()


class ScopeTests(InjectorHost):
    """Promises of `Injection.follow`, for backends that tell scopes apart."""

    @needs(lambda suite: Scope.COMMAND in suite.scopes)
    def test_a_followed_command_is_covered(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """In scope `COMMAND` the hits of the followed process count."""
        with injector.open(probes, scope=Scope.COMMAND, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes, 2)
            expected = dict.fromkeys(probes, 2)
            self.expect_hits(fired(self.received(receiver, injection, 2 * len(probes))), expected)

    @needs(lambda suite: Scope.COMMAND in suite.scopes)
    def test_a_child_of_the_followed_command_is_covered(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """In scope `COMMAND` the hits of its descendants count as well."""
        with injector.open(probes, scope=Scope.COMMAND, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger_in_child(injection, probes, 2)
            expected = dict.fromkeys(probes, 2)
            self.expect_hits(fired(self.received(receiver, injection, 2 * len(probes))), expected)

    @needs(lambda suite: Scope.COMMAND in suite.scopes)
    def test_no_one_but_the_followed_command_is_covered(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """In scope `COMMAND` the hits of others do not count, be it before or after the command ran."""
        with injector.open(probes, scope=Scope.COMMAND, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger_elsewhere(probes[1:], 3)
            self.trigger(injection, probes[:2], 2)
            self.trigger_elsewhere(probes[1:], 3)
            batches = self.received(receiver, injection, 4)
            self.expect_hits(fired(batches), dict.fromkeys(probes[:2], 2))


class _Foreign:
    """An injection that no receiver has ever heard of."""

    def __init__(self, probes: ProbeTable) -> None:
        self.probes = probes
