"""The conformance kit for injectors and receivers: what every backend must do, one promise a test."""



from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from ebpf_bot_core.errors import BackendError
from ebpf_bot_core.probe import ProbePattern, ProbeTable
from ebpf_bot_core.run import Mode, Scope
from ebpf_bot_core.signal import SIGNAL_DTYPE
from ebpf_bot_core.stages import ProbeInjector, SignalReceiver
from ebpf_bot_core.testing.injector_host import InjectorHost, fired, needs, rows
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["HOSTILE_PATTERNS", "InjectorTests"]

HOSTILE_PATTERNS: Final = (
    "uprobe:/dev/zero:*",
    "uprobe:/dev/null:main*",
    "uprobe:/proc/self/mem:*",
    "uprobe:/:*",
    "uprobe:/../../../../../../../../etc/passwd:*",
    "uprobe:/" + "a" * 4000 + ":*",
    "uprobe:/" + "a/" * 2000 + "b:*",
    "uprobe:$(reboot):`reboot`*",
    "uprobe:;reboot;:%s%n*",
    "uprobe:-rf:--help*",
    "uprobe:/[z-a]*:[!]]*[z-a]",
    "uretprobe:/dev/zero:" + "*a" * 500,
    "usdt:/dev/zero:*:*",
    "tracepoint:../..:*",
    "tracepoint:*/../..:enable*",
    "rawtracepoint:../*",
    "syscall:" + "?*" * 500 + "!",
)
"""Patterns that parse, and that a plan from somewhere else may hold. None of them matches anything."""

Opened = tuple[ProbeInjector, SignalReceiver, ProbeTable]


class InjectorTests(InjectorHost):
    """Promises of `ProbeInjector`, `Injection` and `SignalReceiver`; a backend subclasses this as a pytest class.

    It overrides the methods of `InjectorHost`, and states there what it can do; tests of what it cannot do are not
    collected. Every test opens injections of its own.

    Example:
        class TestMine(InjectorTests):
            modes = frozenset({Mode.COUNT, Mode.STREAM})
            def make_injector(self): return MyInjector()
            def make_receiver(self): return MyReceiver()
            def patterns(self): return ["uprobe:/opt/target:work_*"]
            def trigger(self, injection, probes, times):
                with injection.follow():
                    child = subprocess.Popen(["/opt/target", str(times), *probes])
                child.wait()
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, test in vars(InjectorTests).items():
            condition = getattr(test, "needs", None)
            if condition is not None and name not in vars(cls):
                setattr(cls, name, test if condition(cls) else None)

    # What is there

    def test_the_stages_have_the_methods_of_their_protocols(
        self, injector: ProbeInjector, receiver: SignalReceiver
    ) -> None:
        """They can be used wherever the protocols are asked for, and say the modes they serve."""
        assert isinstance(injector, ProbeInjector)
        assert isinstance(receiver, SignalReceiver)
        assert injector.modes == self.modes

    def test_find_gives_canonical_names(self, injector: ProbeInjector) -> None:
        """Each row is one probe, once, whose name reads back as itself; what cannot fire has a reason."""
        found = injector.find([ProbePattern.parse(text) for text in [*self.patterns(), *self.patterns()]])
        assert len(set(found.probes)) == len(found.probes) > 0
        for row in found:
            assert str(ProbePattern.parse(row.probe)) == row.probe
            assert row.verdict not in (Verdict.SILENT, Verdict.FIRED), "find attaches nothing"
            assert row.verdict is Verdict.PENDING or row.reason is not Reason.NONE

    def test_find_finds_its_own_names(self, injector: ProbeInjector, probes: ProbeTable) -> None:
        """A name that find gave, asked for alone, is that probe."""
        for name in probes:
            found = injector.find([ProbePattern.parse(name)])
            assert [(row.probe, row.verdict) for row in found] == [(name, Verdict.PENDING)]

    def test_find_gives_one_missing_row_to_a_pattern_that_matches_nothing(
        self, injector: ProbeInjector
    ) -> None:
        """The row has the pattern's own text, and says why."""
        for text in self.absent():
            (row,) = injector.find([ProbePattern.parse(text)])
            assert (row.probe, row.verdict) == (text, Verdict.MISSING)
            assert row.reason is not Reason.NONE

    def test_find_answers_hostile_patterns_with_rows(
        self, injector: ProbeInjector, probes: ProbeTable
    ) -> None:
        """No pattern raises, none is said to be there, and none hides the good ones beside it."""
        hostile = [ProbePattern.parse(text) for text in HOSTILE_PATTERNS]
        for pattern in hostile:
            (row,) = injector.find([pattern])
            assert row.probe == str(pattern)
            assert row.verdict is not Verdict.PENDING
            assert row.reason is not Reason.NONE
        together = injector.find([*hostile, *(ProbePattern.parse(name) for name in probes)])
        assert {row.probe for row in together if row.verdict is Verdict.PENDING} == set(probes)

    def test_find_answers_broken_files_with_rows(self, injector: ProbeInjector, tmp_path: Path) -> None:
        """A file that is no program, or was made to look like one, is a row with a reason."""
        for path in _broken_files(tmp_path):
            (row,) = injector.find([ProbePattern.parse(f"uprobe:{path}:*")])
            assert row.probe == f"uprobe:{path}:*"
            assert row.verdict in (Verdict.MISSING, Verdict.REFUSED, Verdict.EXCLUDED)
            assert row.reason is not Reason.NONE

    # Attaching and detaching

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
            order = rows(probes)[::-1]
            outcome = injection.attach(np.roll(order, 1))
            assert outcome.probes.names == tuple(probes[row] for row in np.roll(order, 1).tolist())
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
            self._check(fired(self.received(receiver, injection, 8)), {probes[0]: 5, probes[1]: 3})

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
            self._check(fired(self.received(receiver, injection, 4)), dict.fromkeys(good, 2))

    def test_detached_probes_do_not_fire(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """What fires after detach has returned is not counted; with hits kept, that is for all at once."""
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

    def test_hits_before_detach_are_still_received(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """Detaching loses nothing that has fired."""
        with injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes, 2)
            injection.detach(rows(probes))
            expected = dict.fromkeys(probes, 2)
            self._check(fired(self.received(receiver, injection, 2 * len(probes))), expected)

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

    # Signals

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
            self._check(fired(batches), {one: 107, other: 100})

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
            self._check(fired(second), {probes[1]: 2})
            for batch in [*first, *second]:
                if batch.records.flags.writeable:
                    batch.records[:] = 0
            self.trigger(injection, probes[2:3], 2)
            self._check(fired(self.received(receiver, injection, 2)), {probes[2]: 2})

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
        with pytest.raises(BackendError):
            receiver.receive(_Foreign(probes), 0)

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

    # The end

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
        with (
            pytest.raises(_Interruption),
            injector.open(probes, scope=Scope.HOST, mode=mode, keep=True) as injection,
        ):
            injection.attach(rows(probes))
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

    # Scope

    @needs(lambda suite: Scope.COMMAND in suite.scopes)
    def test_a_followed_command_is_covered(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """In scope `COMMAND` the hits of the followed process count."""
        with injector.open(probes, scope=Scope.COMMAND, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger(injection, probes, 2)
            expected = dict.fromkeys(probes, 2)
            self._check(fired(self.received(receiver, injection, 2 * len(probes))), expected)

    @needs(lambda suite: Scope.COMMAND in suite.scopes)
    def test_a_child_of_the_followed_command_is_covered(
        self, injector: ProbeInjector, receiver: SignalReceiver, probes: ProbeTable, mode: Mode
    ) -> None:
        """In scope `COMMAND` the hits of its descendants count as well."""
        with injector.open(probes, scope=Scope.COMMAND, mode=mode, keep=True) as injection:
            injection.attach(rows(probes))
            self.trigger_in_child(injection, probes, 2)
            expected = dict.fromkeys(probes, 2)
            self._check(fired(self.received(receiver, injection, 2 * len(probes))), expected)

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
            self._check(fired(batches), dict.fromkeys(probes[:2], 2))

    def _check(self, counted: dict[str, int], expected: dict[str, int]) -> None:
        if self.exact_counts:
            assert counted == expected
        else:
            assert set(counted) == set(expected)


class _Interruption(Exception):  # noqa: N818 - it is no error
    """Stands for whatever may happen while an injection is open."""


class _Foreign:
    """An injection that no receiver has ever heard of."""

    def __init__(self, probes: ProbeTable) -> None:
        self.probes = probes


def _broken_files(folder: Path) -> list[Path]:
    program = Path(sys.executable).resolve().read_bytes()[:4096]
    contents = {
        "empty": b"",
        "script": b"#!/bin/sh\nexit 0\n",
        "cut": program[:40],
        "headless": program,
        "lies": program[:16] + b"\xff" * 4080,
        "zeros": program[:16] + b"\0" * 4080,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "fifo")
    return sorted(folder.iterdir())
