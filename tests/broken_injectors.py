"""Backends with one defect each, for `test_kit_injectors.py`: the kit must see every one of them.

All are the simulated backend with something overridden. `breaks` names the test of the kit that must fail.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import attrs
import numpy as np
from ebpf_bot_simulated import SimulatedInjection, SimulatedInjector, SimulatedOptions, SimulatedReceiver
from numpy.typing import NDArray

from ebpf_bot_core import (
    BackendError,
    Evidence,
    Injection,
    Mode,
    ProbePattern,
    ProbeTable,
    Reason,
    Scope,
    SignalBatch,
    Verdict,
)
from ebpf_bot_core.testing import InjectorTests

Rows = NDArray[np.intp]

QUIET = SimulatedOptions(
    rates={"*": 0.0},
    faults={
        "*no?such*": "not-found",
        "*:lock_try": "unsupported-instruction",
        "uprobe:/usr/bin/checkout:p*_?????": "imported",
    },
    wait=False,
)


class Backend(InjectorTests):
    """The simulated backend as it is, scope `COMMAND` included; broken ones name other types."""

    breaks: ClassVar[str] = ""
    Injects: ClassVar[type[SimulatedInjector]] = SimulatedInjector
    Opens: ClassVar[type[SimulatedInjection]] = SimulatedInjection
    Receives: ClassVar[type[SimulatedReceiver]] = SimulatedReceiver

    modes = frozenset(Mode)
    scopes = frozenset(Scope)
    patience = 0.2
    opened: SimulatedInjection | None = None

    def make_injector(self) -> SimulatedInjector:
        host = self

        class Opening(self.Injects):  # type: ignore[name-defined,misc]
            def open(self, probes: ProbeTable, *, scope: Scope, mode: Mode, keep: bool) -> SimulatedInjection:
                injection: SimulatedInjection = super().open(probes, scope=scope, mode=mode, keep=keep)
                injection.__class__ = host.Opens
                host.opened = injection
                return injection

        return Opening(QUIET)

    def make_receiver(self) -> SimulatedReceiver:
        return self.Receives()

    def patterns(self) -> Sequence[str]:
        return ["uprobe:checkout:p*", "syscall:open*", "tracepoint:sched:sched_s*", "usdt:checkout:order:*"]

    def stubborn(self) -> str:
        return "uprobe:/usr/lib/libspin.so.1:lock_try"

    def trigger(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        assert isinstance(injection, SimulatedInjection)
        with injection.follow():
            injection.fire(injection.probes.positions(probes), times)

    def trigger_in_child(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        self.trigger(injection, probes, times)

    def trigger_elsewhere(self, probes: Sequence[str], times: int) -> None:
        """Do nothing: the simulated backend sees no one whom it does not follow."""


class TestSound(Backend):
    pass


# What is there


class TestServesFewerModesThanItSays(Backend):
    breaks = "test_the_stages_have_the_methods_of_their_protocols"

    class Injects(SimulatedInjector):
        modes = frozenset({Mode.COUNT})


class TestGivesNamesThatDoNotReadBack(Backend):
    breaks = "test_find_gives_canonical_names"

    class Injects(SimulatedInjector):
        def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
            found = super().find(patterns)
            return Evidence.stating((f"{row.probe}\n", row.verdict, row.reason, row.detail) for row in found)


class TestDoesNotKnowItsOwnNames(Backend):
    breaks = "test_find_finds_its_own_names"

    class Injects(SimulatedInjector):
        def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
            if all(pattern.is_exact for pattern in patterns):
                return Evidence.stating(
                    (str(pattern), Verdict.MISSING, Reason.NOT_FOUND, "") for pattern in patterns
                )
            return super().find(patterns)


class TestRaisesForAMissingName(Backend):
    breaks = "test_find_gives_one_missing_row_to_a_pattern_that_matches_nothing"

    class Injects(SimulatedInjector):
        def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
            found = super().find(patterns)
            if any(row.verdict is Verdict.MISSING for row in found):
                raise BackendError("no such probe")
            return found


class TestOneHostilePatternHidesTheOthers(Backend):
    breaks = "test_find_answers_hostile_patterns_with_rows"

    class Injects(SimulatedInjector):
        def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
            if any(len(str(pattern)) > 2000 for pattern in patterns):
                patterns = patterns[:1]
            return super().find(patterns)


class TestBelievesBrokenFiles(Backend):
    breaks = "test_find_answers_broken_files_with_rows"

    class Injects(SimulatedInjector):
        def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
            for pattern in patterns:
                if pattern.target.endswith("/cut"):
                    raise BackendError("the file is truncated")
            return super().find(patterns)


# Attaching and detaching


class TestCountsBeforeAttach(Backend):
    breaks = "test_nothing_is_counted_before_attach"

    class Opens(SimulatedInjection):
        def fire(self, rows: Rows, times: int = 1) -> None:
            super().attach(rows)
            super().fire(rows, times)


class TestAnswersOutOfOrder(Backend):
    breaks = "test_attach_answers_for_each_row_in_order"

    class Opens(SimulatedInjection):
        def attach(self, rows: Rows) -> Evidence:
            return super().attach(np.sort(rows))


class TestCountsTwiceWhatIsAttachedTwice(Backend):
    breaks = "test_attaching_twice_changes_nothing"

    class Opens(SimulatedInjection):
        links = 0

        def attach(self, rows: Rows) -> Evidence:
            self.links += 1
            return super().attach(rows)

        def fire(self, rows: Rows, times: int = 1) -> None:
            super().fire(rows, times * self.links)


class TestTakesNoRowsForAllRows(Backend):
    breaks = "test_no_rows_are_nothing_to_do"

    class Opens(SimulatedInjection):
        def attach(self, rows: Rows) -> Evidence:
            return super().attach(rows if len(rows) else np.arange(len(self.probes)))


class TestFailsAWholeBatchForOneBadProbe(Backend):
    breaks = "test_a_refused_probe_fails_no_other"

    class Opens(SimulatedInjection):
        def attach(self, rows: Rows) -> Evidence:
            outcome = super().attach(rows)
            if (outcome.columns["verdict"] == Verdict.REFUSED).any():
                self.detach(rows)
                outcome.columns["verdict"] = Verdict.REFUSED
            return outcome


class TestLeaksAfterDetach(Backend):
    breaks = "test_detached_probes_do_not_fire"

    class Opens(SimulatedInjection):
        def detach(self, rows: Rows) -> None:
            """Forget to do it."""


class TestDetachesTheNeighbours(Backend):
    breaks = "test_those_that_stay_attached_still_fire"

    class Opens(SimulatedInjection):
        def detach(self, rows: Rows) -> None:
            super().detach(np.arange(len(self.probes)))


class TestDetachThrowsHitsAway(Backend):
    breaks = "test_hits_before_detach_are_still_received"

    class Opens(SimulatedInjection):
        def detach(self, rows: Rows) -> None:
            self.collect()
            super().detach(rows)


class TestAttachesOnce(Backend):
    breaks = "test_a_detached_probe_can_be_attached_again"

    class Opens(SimulatedInjection):
        def attach(self, rows: Rows) -> Evidence:
            seen = getattr(self, "seen", False)
            self.seen = True
            return super().attach(rows[:0] if seen else rows)


# Signals


class TestLosesAHit(Backend):
    breaks = "test_counts_are_exact_where_hits_are_kept"

    class Receives(SimulatedReceiver):
        def receive(self, injection: Injection, timeout: float) -> SignalBatch:
            batch = super().receive(injection, timeout)
            batch.records["count"][batch.records["count"] > 50] -= 1
            return batch.where(np.arange(len(batch)) < 150)


class TestReportsThoseThatDidNotFire(Backend):
    breaks = "test_what_fired_is_reported_where_hits_are_not_kept"

    class Receives(SimulatedReceiver):
        def receive(self, injection: Injection, timeout: float) -> SignalBatch:
            batch = super().receive(injection, timeout)
            batch.records["probe"][:] = 0
            return batch


class TestNumbersProbesItsOwnWay(Backend):
    breaks = "test_batches_refer_to_the_table_of_the_injection"

    class Receives(SimulatedReceiver):
        def receive(self, injection: Injection, timeout: float) -> SignalBatch:
            batch = super().receive(injection, timeout)
            return attrs.evolve(batch, probes=ProbeTable(batch.probes.names))


class TestBatchesShareMemory(Backend):
    breaks = "test_batches_own_their_memory"

    class Receives(SimulatedReceiver):
        buffer: NDArray[np.void] | None = None

        def receive(self, injection: Injection, timeout: float) -> SignalBatch:
            batch = super().receive(injection, timeout)
            if self.buffer is None:
                self.buffer = np.zeros(1000, batch.records.dtype)
            view = self.buffer[: len(batch)]
            view[:] = batch.records
            return attrs.evolve(batch, records=view)


class TestTellsTheTimeSinceBoot(Backend):
    breaks = "test_signals_bear_the_time_they_fired"

    class Receives(SimulatedReceiver):
        def receive(self, injection: Injection, timeout: float) -> SignalBatch:
            batch = super().receive(injection, timeout)
            batch.records["time"] = time.monotonic_ns()
            return batch


class TestSumsInStreamMode(Backend):
    breaks = "test_a_streamed_signal_is_one_hit"

    class Receives(SimulatedReceiver):
        def receive(self, injection: Injection, timeout: float) -> SignalBatch:
            batch = super().receive(injection, timeout)
            rows, counts = np.unique(batch.records["probe"], return_counts=True)
            return SignalBatch.counted(batch.probes, rows, counts, time.time_ns())


class TestWaitsForever(Backend):
    breaks = "test_receive_takes_no_longer_than_it_may"

    class Receives(SimulatedReceiver):
        def receive(self, injection: Injection, timeout: float) -> SignalBatch:
            if timeout > 0.15:
                time.sleep(1.3)
            return super().receive(injection, timeout)


class TestGivesNothingForAForeignInjection(Backend):
    breaks = "test_receive_refuses_a_foreign_injection"

    class Receives(SimulatedReceiver):
        def receive(self, injection: Injection, timeout: float) -> SignalBatch:
            if not isinstance(injection, SimulatedInjection):
                return SignalBatch.empty(injection.probes)
            return super().receive(injection, timeout)


class TestInspectsOnlyWhatIsAttached(Backend):
    breaks = "test_inspect_speaks_of_the_whole_table"

    class Opens(SimulatedInjection):
        def inspect(self) -> Evidence:
            known = super().inspect()
            return known.take(np.flatnonzero(known.columns["opportunities"]))


class TestEarnsBack(Backend):
    breaks = "test_cost_never_falls"

    class Opens(SimulatedInjection):
        def cost(self) -> np.ndarray:
            return np.full(len(self.probes), -float(self._tick))


class TestCountsTwiceWhileOthersLeave(Backend):
    breaks = "test_those_that_stay_are_counted_exactly"

    class Opens(SimulatedInjection):
        def detach(self, rows: Rows) -> None:
            super().detach(rows)
            self.fire(np.flatnonzero(self._attached))


# The end


class TestClosesOnce(Backend):
    breaks = "test_closing_twice_is_allowed"

    class Opens(SimulatedInjection):
        def close(self) -> None:
            self.inspect()
            super().close()


class TestWorksOnAfterClose(Backend):
    breaks = "test_a_closed_injection_refuses_to_work"

    class Opens(SimulatedInjection):
        def inspect(self) -> Evidence:
            return Evidence.pending(self.probes)


class TestStaysOpenAfterAnException(Backend):
    breaks = "test_an_exception_closes_the_injection"

    class Opens(SimulatedInjection):
        def __exit__(self, *exc: object) -> None:
            if exc[0] is None:
                self.close()


class TestLeavesHitsToTheNext(Backend):
    breaks = "test_one_injection_leaves_nothing_to_the_next"

    class Opens(SimulatedInjection):
        shared: ClassVar[list[Any]] = []

        def fire(self, rows: Rows, times: int = 1) -> None:
            self.shared.append((rows, times))

        def collect(self) -> SignalBatch:
            for rows, times in self.shared:
                super().fire(rows, times)
            self.shared.clear()
            return super().collect()


# Scope


class TestDoesNotSeeTheCommand(Backend):
    breaks = "test_a_followed_command_is_covered"

    class Opens(SimulatedInjection):
        @contextmanager
        def follow(self) -> Iterator[None]:
            yield


class TestDoesNotSeeChildren(Backend):
    breaks = "test_a_child_of_the_followed_command_is_covered"

    def trigger_in_child(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        """Do nothing, as where a filter knows the command's own process id alone."""


class TestSeesEveryone(Backend):
    breaks = "test_no_one_but_the_followed_command_is_covered"

    def trigger_elsewhere(self, probes: Sequence[str], times: int) -> None:
        if self.opened is not None:
            with self.opened.follow():
                self.opened.fire(self.opened.probes.positions(probes), times)
