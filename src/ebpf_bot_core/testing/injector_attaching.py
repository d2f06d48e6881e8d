"""What every injection must do with its probes, from attaching to its end."""

from __future__ import annotations

import numpy as np
import pytest

from ebpf_bot_core.errors import BackendError
from ebpf_bot_core.probe import ProbeTable
from ebpf_bot_core.run import Mode, Scope
from ebpf_bot_core.stages import ProbeInjector, SignalReceiver
from ebpf_bot_core.testing.injector_host import InjectorHost, fired, needs, rows
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["AttachingTests", "ClosingTests"]


class AttachingTests(InjectorHost):
    """Promises of `Injection.attach`, `detach` and `inspect`."""

    def test_nothing_is_counted_before_attach(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Opening attaches nothing, and what fired before attaching does not come later."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            self.trigger(injection, probes, 2)
            assert fired(self.received(receiver, injection, 0)) == {}
            injection.attach(rows(probes))
            assert fired(self.received(receiver, injection, 0)) == {}

    def test_attach_answers_for_each_row_in_order(
        self, injector: ProbeInjector, probes: ProbeTable, mode: Mode
    ) -> None:
        """The outcome has the rows that were asked for, in that order."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            order = np.roll(rows(probes)[::-1], 1)
            outcome = injection.attach(order)
            assert outcome.probes.names == tuple(probes[row] for row in order.tolist())
            assert [row.verdict for row in outcome] == [Verdict.SILENT] * len(probes)

    def test_attaching_twice_changes_nothing(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """What is attached is silent again, keeps its hits, and is not counted twice."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes[:1], 2)
            again = injection.attach(rows(probes))
            assert [row.verdict for row in again] == [Verdict.SILENT] * len(probes)
            self.trigger(injection, probes[:2], 3)
            self.expect_hits(fired(self.received(receiver, injection, 8)), {probes[0]: 5, probes[1]: 3})

    def test_no_rows_are_nothing_to_do(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Attaching or detaching no probe is allowed, and so is an empty table."""
        nothing = np.zeros(0, np.intp)
        for table in (probes, ProbeTable(())):
            with injector.open(table, scope=Scope.HOST, mode=mode, keep=False) as injection:
                assert len(injection.attach(nothing)) == 0
                injection.detach(nothing)
                assert len(injection.inspect()) == len(table)
                assert fired(self.received(receiver, injection, 0)) == {}

    @needs(lambda suite: suite.stubborn is not InjectorHost.stubborn)
    def test_a_refused_probe_fails_no_other(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """One bad probe in a batch is refused with a reason and a detail; the others are attached and fire."""
        good, bad = probes[:2], self.stubborn()
        table = ProbeTable((good[0], bad, good[1]))
        with injector.open(table, scope=Scope.HOST, mode=mode, keep=True) as injection:
            outcome = list(injection.attach(rows(table)))
            expected = [Verdict.SILENT, Verdict.REFUSED, Verdict.SILENT]
            assert [row.verdict for row in outcome] == expected
            assert outcome[1].reason is not Reason.NONE
            assert outcome[1].detail
            self.trigger(injection, good, 2)
            self.expect_hits(fired(self.received(receiver, injection, 4)), dict.fromkeys(good, 2))

    def test_detached_probes_do_not_fire(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """What fires after detach has returned is not counted."""
        for keep in (False, True):
            with injector.open(probes, scope=Scope.HOST, mode=mode, keep=keep) as injection:
                injection.attach(rows(probes))
                injection.detach(rows(probes))
                self.trigger(injection, probes, 2)
                assert fired(self.received(receiver, injection, 0)) == {}

    def test_those_that_stay_attached_still_fire(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Detaching some probes takes nothing from the others."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=False) as injection:
            injection.attach(rows(probes))
            injection.detach(rows(probes, probes[0]))
            self.trigger(injection, probes, 2)
            assert set(fired(self.received(receiver, injection, len(probes) - 1))) == set(probes[1:])

    def test_those_that_stay_are_counted_exactly(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Where hits are kept, detaching some probes costs the others no hit and adds none."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes, 2)
            injection.detach(rows(probes, probes[0]))
            self.trigger(injection, probes, 3)
            expected = {probes[0]: 2, **dict.fromkeys(probes[1:], 5)}
            received = fired(self.received(receiver, injection, sum(expected.values())))
            self.expect_hits(received, expected)

    def test_cost_never_falls(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Cost is one number a probe, not below 0 and never less than before; NaN where no one can tell."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            before = injection.cost()
            assert before.shape == (len(probes),)
            self.trigger(injection, probes, 2)
            self.received(receiver, injection, 2 * len(probes))
            after = injection.cost()
            known = ~np.isnan(after)
            assert (known == ~np.isnan(before)).all()
            assert (before[known] >= 0).all()
            assert (after[known] >= before[known]).all()

    def test_hits_before_detach_are_still_received(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Detaching loses nothing that has fired."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes, 2)
            injection.detach(rows(probes))
            expected = dict.fromkeys(probes, 2)
            self.expect_hits(fired(self.received(receiver, injection, 2 * len(probes))), expected)

    def test_a_detached_probe_can_be_attached_again(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Probes rotate: one that was taken off fires when it is put back."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=False) as injection:
            injection.attach(rows(probes))
            injection.detach(rows(probes))
            (again,) = injection.attach(rows(probes, probes[1]))
            assert again.verdict is Verdict.SILENT
            self.trigger(injection, probes, 1)
            assert set(fired(self.received(receiver, injection, 1))) == {probes[1]}


class ClosingTests(InjectorHost):
    """Promises about the end of an injection."""

    def test_closing_twice_is_allowed(self, probes: ProbeTable, mode: Mode) -> None:
        """Injections, receivers and injectors may each be closed again."""
        injector, receiver = self.make_injector(), self.make_receiver()
        injection = injector.open(probes, scope=Scope.HOST, mode=mode, keep=True)
        injection.attach(rows(probes))
        for stage in (injection, receiver, injector):
            stage.close()
            stage.close()

    def test_a_closed_injection_refuses_to_work(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Whatever is asked of it is a `BackendError`, so that no one takes its silence for evidence."""
        injection = injector.open(probes, scope=Scope.HOST, mode=mode, keep=True)
        injection.attach(rows(probes))
        injection.close()
        with pytest.raises(BackendError):
            injection.attach(rows(probes))
        with pytest.raises(BackendError):
            injection.detach(rows(probes))
        with pytest.raises(BackendError):
            injection.inspect()
        with pytest.raises(BackendError), injection.follow():
            pass
        with pytest.raises(BackendError):
            receiver.receive(injection, 0)

    def test_an_exception_closes_the_injection(
        self, injector: ProbeInjector, probes: ProbeTable, mode: Mode
    ) -> None:
        """It ends as a context manager does, and lets the exception through."""
        injection = injector.open(probes, scope=Scope.HOST, mode=mode, keep=True)
        injection.attach(rows(probes))
        with pytest.raises(_Interruption), injection:
            raise _Interruption
        with pytest.raises(BackendError):
            injection.attach(rows(probes))

    def test_one_injection_leaves_nothing_to_the_next(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Hits that no one received end with their injection."""
        for _ in range(2):
            with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
                injection.attach(rows(probes))
                assert fired(self.received(receiver, injection, 0)) == {}
                self.trigger(injection, probes, 2)


class _Interruption(Exception):  # noqa: N818 - it is no error
    """Stands for whatever may happen while an injection is open."""
