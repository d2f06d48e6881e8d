"""tracepoint, rawtracepoint, syscall and software: the kernel's events, counted exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from ebpf_bot_core import Scope, Verdict
from ebpf_bot_linux.finding.tracefs import Tracefs
from ebpf_bot_linux.points import RawTracepointPoint, TracepointPoint
from ebpf_bot_linux.testing.bench import Bench
from ebpf_bot_linux.testing.kinds import KindTests, Shows

__all__ = ["KernelEventTests"]

_TRACED: Final = (
    "sched:sched_process_exec",
    "sched:sched_process_fork",
    "sched:sched_process_exit",
    "syscalls:sys_enter_getppid",
    "syscalls:sys_exit_getppid",
    "syscalls:sys_enter_newfstat",
    "syscalls:sys_exit_newfstat",
    "syscalls:sys_enter_execve",
    "syscalls:sys_exit_execve",
    "syscalls:sys_enter_exit_group",
    "syscalls:sys_exit_exit_group",
    "syscalls:sys_enter_wait4",
    "syscalls:sys_exit_wait4",
)


class KernelEventTests(KindTests):
    """Probes on events of the kernel."""

    def test_tracepoints_count_the_same_below_and_by_perf_events(
        self, either: Bench, target: Path, shows: Shows
    ) -> None:
        """Of those of a day, some are known by number."""
        with Tracefs() as tracefs:
            by_event = [TracepointPoint(tracefs.event_id(*name.split(":"))) for name in _TRACED]
        below = either.points(*(f"tracepoint:{name}" for name in _TRACED))
        assert all(isinstance(point, TracepointPoint) and point.below for point in below)
        with either.open_points([*by_event, *below], either.features) as injection:
            rows = np.arange(2 * len(_TRACED))
            assert set(injection.attach(rows).columns["verdict"].tolist()) == {Verdict.SILENT}
            with injection.follow():
                either.execute("sh", "-c", f"{target} day 5; {target} day 2; exit 0")
            counts = np.zeros(len(rows), int)
            for signal in either.receiver.receive(injection, 0):
                counts[int(signal.probe.rpartition(":")[2])] = signal.count
            by_event_counts, below_counts = np.split(counts, 2)
            counted = dict(zip(_TRACED, below_counts.tolist(), strict=True))
            assert counted == dict(zip(_TRACED, by_event_counts.tolist(), strict=True))
            # 5 + 1 and 2 + 1, and 1 of the shell's own; the shell executes two programs, and each of them forks.
            assert counted["syscalls:sys_enter_getppid"] == 10
            assert counted["sched:sched_process_exec"] == 3
            assert counted["sched:sched_process_exit"] == 5
        shows("tracepoint", "exact, below and by perf events")

    def test_raw_tracepoints_and_syscalls(self, either: Bench, target: Path, shows: Shows) -> None:
        """One that is not there is refused."""
        names = ("rawtracepoint:sched_process_exit", "rawtracepoint:sched_process_fork", "syscall:getppid")
        with either.trial(*names) as trial:
            trial.run(target, "day", 6)
            assert trial.hits() == {"sched_process_exit": 2, "sched_process_fork": 1, "getppid": 7}
            assert trial.lost == 0
            trial.injection.detach(trial.rows)
            trial.run(target, "day", 6)
            assert trial.hits() == {"sched_process_exit": 2, "sched_process_fork": 1, "getppid": 7}
        shows("syscall", "exact")
        way = "links with cookies" if either.features.raw_cookies else "copies"
        shows("rawtracepoint", f"exact, by {way}")
        with either.open_points([RawTracepointPoint("no_such_tracepoint")], either.features) as injection:
            assert injection.attach(np.arange(1)).columns["verdict"].tolist() == [Verdict.REFUSED]

    def test_page_faults_are_those_of_the_fresh_pages_and_of_starting(
        self, bench: Bench, target: Path, shows: Shows
    ) -> None:
        """getrusage(2) of the same runs counts a little more: what happens before the command has executed its program."""
        pages = 3000
        counted = []
        with bench.trial("software:page-faults:1") as trial:
            for touched in (0, pages):
                before = sum(trial.hits().values())
                usage = bench.usage_of(trial.injection, target, "pages", touched)
                hits = sum(trial.hits().values()) - before
                assert touched <= hits <= usage.ru_minflt + usage.ru_majflt
                assert trial.injection.cost()[0] > 0
                counted.append(hits)
            trial.run(target, "pages", pages, follow=False)
            assert sum(trial.hits().values()) == sum(counted)
        assert abs(counted[1] - counted[0] - pages) <= 10
        shows("software", "exact")

    def test_a_period_divides_the_samples(self, bench: Bench, target: Path) -> None:
        """Each CPU counts down from the period for itself, and for all processes: a sample may be another's."""
        with bench.trial("software:page-faults:1", "software:page-faults:500") as trial:
            trial.run(target, "pages", 3000)
            hits = trial.hits()
            assert 0 < hits["500"] <= hits["1"] // 500 + 2

    @pytest.mark.parametrize(
        ("probe", "work", "least"),
        [
            ("software:context-switches:1", ("sleep", 20), 20),
            ("software:cs:1", ("sleep", 20), 20),
            ("software:minor-faults:1", ("pages", 500), 500),
            ("software:cpu-clock:1000000", ("spin", 200), 5),
            ("software:task-clock:1000000", ("spin", 200), 5),
        ],
    )
    def test_software_events_fire(
        self, bench: Bench, target: Path, probe: str, work: tuple[str, int], least: int
    ) -> None:
        """As often as the work makes them, at least."""
        with bench.trial(probe) as trial:
            trial.run(target, *work)
            assert sum(trial.hits().values()) >= least

    @pytest.mark.parametrize(
        "event", ["alignment-faults", "cpu-migrations", "emulation-faults", "major-faults"]
    )
    def test_the_rarer_software_events_attach(self, bench: Bench, event: str) -> None:
        """Nothing here makes them."""
        with bench.trial(f"software:{event}", scope=Scope.HOST) as trial:
            assert trial.outcome.columns["verdict"].tolist() == [Verdict.SILENT]
