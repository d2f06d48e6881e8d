"""uprobe, uretprobe and usdt, by links and by perf events: the same exact counts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ebpf_bot_core import Reason, Verdict
from ebpf_bot_linux.kernel import perf_events
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.points import FunctionPoint
from ebpf_bot_linux.testing.bench import Bench
from ebpf_bot_linux.testing.kinds import WITHOUT, KindTests, MakeBench, Shows

__all__ = ["CodeKindTests"]


class CodeKindTests(KindTests):
    """Probes on the code of a program."""

    def test_functions_returns_and_usdt_points(self, either: Bench, target: Path, shows: Shows) -> None:
        """Those that are followed count, others do not, and nothing is left behind."""
        probes = (f"uprobe:{target}:work", f"uretprobe:{target}:twice", f"usdt:{target}:shop:*")
        with either.trial(*probes) as trial:
            done = trial.run(target, "day", 50)
            assert trial.hits() == {"work": 102, "twice": 51, "plain": 51, "armed": 51}
            assert trial.lost == 0
            assert done.stdout == b"1\n"
            within = trial.injection.cost()
            assert (within > 0).all()
            trial.run(target, "day", 50, follow=False)
            assert trial.injection.cost() == pytest.approx(2 * within)
            assert trial.hits() == {"work": 102, "twice": 51, "plain": 51, "armed": 51}
            inspected = {row.probe.rpartition(":")[2]: row for row in trial.injection.inspect()}
            assert inspected["work"].opportunities == 1
            trial.injection.detach(trial.rows)
            assert trial.run(target, "day", 50).stdout == b"0\n"
            assert trial.hits() == {"work": 102, "twice": 51, "plain": 51, "armed": 51}
        way = "one link" if either.features.uprobe_multi else "perf events"
        shows("uprobe, uretprobe, usdt", f"exact, by {way}")

    def test_one_event_serves_every_cpu(self, either: Bench, target: Path) -> None:
        """Wherever the program runs, each of its hits is counted."""
        cpus = sorted(os.sched_getaffinity(0))
        with either.trial(f"uprobe:{target}:work") as trial:
            for cpu in cpus:
                trial.run("taskset", "-c", cpu, target, "day", 10)
            assert trial.hits() == {"work": 22 * len(cpus)}

    def test_what_fired_is_stepped_off_and_the_rest_stays(self, either: Bench, target: Path) -> None:
        """A probe that is detached counts nothing more."""
        with either.trial(f"uprobe:{target}:work", f"uprobe:{target}:twice", keep=False) as trial:
            trial.injection.detach(trial.rows[:1])
            trial.run(target, "day", 5)
            assert trial.hits() == {"twice": 1}

    def test_a_bad_place_is_refused_alone(self, either: Bench, target: Path) -> None:
        """One that is beyond the file concerns no other."""
        (good,) = either.points(f"uprobe:{target}:work")
        assert isinstance(good, FunctionPoint)
        start, size = good.binary.segments[0]
        bad = FunctionPoint(good.binary, (start + size + (1 << 24),), on_return=False)
        with either.open_points([bad, good, bad], either.features) as injection:
            outcome = injection.attach(np.arange(3))
            assert outcome.columns["verdict"].tolist() == [Verdict.REFUSED, Verdict.SILENT, Verdict.REFUSED]

    def test_without_the_privilege_perf_events_are_refused_with_the_reason(
        self, bench_with: MakeBench, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel's answer is given by hand here; other tests have the processes that lack it."""

        def denied(*_: object, **__: object) -> None:
            raise KernelError("open a uprobe", 13)

        monkeypatch.setattr(perf_events, "open_place", denied)
        with bench_with(WITHOUT).trial(f"uprobe:{target}:work") as trial:
            (row,) = trial.outcome
            assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.PERMISSION)
            assert "CAP_SYS_ADMIN" in row.detail
