"""Probes on the kernel's functions and events: exact counts on every kernel that can have them, else the reason."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from ebpf_bot_linux.finding.tracefs import Tracefs
from ebpf_bot_linux.points import FentryPoint, KprobePoint, RawTracepointPoint, TracepointPoint

from ebpf_bot_core import ProbePattern, Scope, Verdict

pytestmark = [pytest.mark.live, pytest.mark.kernels]


@pytest.mark.parametrize("kind", ["kprobe", "kretprobe", "fentry", "fexit"])
def test_calls_of_a_function_of_the_kernel(either, target, lacking, shows, kind):
    if kind in lacking:
        found = either.injector.find([ProbePattern.parse(f"{kind}:__x64_sys_unlink")])
        assert [(row.verdict, row.reason.code) for row in found] == [(Verdict.REFUSED, lacking[kind])]
        shows(kind, f"refused: {lacking[kind]}")
        return
    with either.trial(f"{kind}:__x64_sys_unlink") as trial:
        trial.run(target, "day", 7)
        trial.run(target, "day", 7, follow=False)
        assert trial.hits() == {"__x64_sys_unlink": 16}
        assert trial.lost == 0
        assert trial.injection.cost()[0] > 0
        trial.injection.detach(trial.rows)
        trial.run(target, "day", 7)
        assert trial.hits() == {"__x64_sys_unlink": 16}
    way = "one link" if either.injector._features.kprobe_multi else "perf events"
    shows(kind, f"exact, by {way}" if "probe" in kind else "exact")


def test_a_function_of_the_kernel_is_counted_under_all_its_names(either, target, lacking):
    """A syscall without arguments has two: tracefs lists `__do_sys_getppid` alone."""
    if "kprobe" in lacking:
        assert lacking["kprobe"] == "kernel-config"
        return
    names = ("__x64_sys_getppid", "__do_sys_getppid")
    with either.trial(*(f"kprobe:{name}" for name in names)) as trial:
        trial.run(target, "day", 7)
        assert trial.hits() == dict.fromkeys(names, 8)


STORMED = tuple(
    f"__x64_sys_{call}"
    for call in (
        *("getpgid", "getsid", "umask", "sched_getscheduler"),
        *("sched_get_priority_max", "sched_get_priority_min"),
    )
)


@pytest.mark.parametrize("kind", ["kprobe", "kretprobe"])
def test_those_that_stay_are_counted_exactly_while_others_leave_under_fire(
    either, target, lacking, shows, kind
):
    """Each that leaves gives a hit of the others the chance to be seen twice, or by nobody."""
    names = [f"{kind}:{function}" for function in STORMED]
    if kind in lacking:
        found = either.injector.find([ProbePattern.parse(name) for name in names])
        assert set(found.columns["verdict"]) == {Verdict.REFUSED}
        return
    *leaving, stays, stays_too = STORMED
    with either.trial(*names) as trial:
        row_of = {trial.injection.probes[row]: row for row in trial.rows.tolist()}
        with trial.injection.follow():
            storm = subprocess.Popen([target, "storm", "3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for function in leaving:
            enough = trial.hits().get(stays, 0) + 1000
            while trial.hits(timeout=1).get(stays, 0) < enough:
                assert storm.poll() is None
            trial.injection.detach(np.array([row_of[f"{kind}:{function}"]]))
        rounds = int(storm.communicate(timeout=60)[0])
        hits = trial.hits()
        assert (hits[stays], hits[stays_too], trial.lost) == (rounds, rounds, 0)
        assert 0 < hits[leaving[0]] < hits[leaving[-1]] < rounds
    shows(kind, "exact while others leave")


def test_what_a_kprobe_costs_is_timed_where_one_link_takes_many(bench, lacking):
    if "kprobe" in lacking:
        return
    with bench.trial("kprobe:__x64_sys_unlink") as trial:
        costs = trial.injection._costs._kprobe_costs()
        assert costs.measured == bench.injector._features.kprobe_multi
        assert 0 < costs.entry < costs.on_return < 1e-3


@pytest.mark.parametrize("kind", ["kprobe", "fentry"])
def test_a_pattern_takes_many_functions_and_one_that_is_refused_concerns_no_other(
    bench, target, lacking, kind
):
    """Some of them the kernel may refuse, whichever these are."""
    found = bench.injector.find([ProbePattern.parse(f"{kind}:vfs_*")])
    assert len(found) > 30
    if kind in lacking:
        assert set(found.columns["verdict"]) == {Verdict.REFUSED}
        return
    with bench.trial(f"{kind}:vfs_*", f"{kind}:__x64_sys_unlink", keep=False) as trial:
        assert (trial.outcome.columns["verdict"] == Verdict.SILENT).sum() > 30
        trial.run(target, "day", 1)
        assert {"__x64_sys_unlink", "vfs_write"} <= set(trial.hits())
        trial.injection.detach(np.arange(1))
        trial.run(target, "day", 1)


@pytest.mark.parametrize("kind", ["kprobe", "fentry"])
def test_a_function_that_is_not_there_is_refused_alone(either, lacking, kind):
    (there,) = (
        [KprobePoint(("__x64_sys_unlink",), on_return=False)]
        if kind in lacking
        else either.injector._finder.points([f"{kind}:__x64_sys_unlink"])
    )
    away = (
        KprobePoint(("no_such_function",), False) if kind == "kprobe" else FentryPoint((1 << 31) - 1, False)
    )
    with either.open_points([away, there, away], either.injector._features) as injection:
        verdicts = injection.attach(np.arange(3)).columns["verdict"].tolist()
        works = Verdict.REFUSED if kind in lacking else Verdict.SILENT
        assert verdicts == [Verdict.REFUSED, works, Verdict.REFUSED]


TRACED = (
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


def test_tracepoints_count_the_same_below_and_by_perf_events(either, target, shows):
    with Tracefs() as tracefs:
        by_event = [TracepointPoint(tracefs.event_id(*name.split(":"))) for name in TRACED]
    below = either.injector._finder.points([f"tracepoint:{name}" for name in TRACED])
    assert all(point.below for point in below)
    with either.open_points([*by_event, *below], either.injector._features) as injection:
        rows = np.arange(2 * len(TRACED))
        assert set(injection.attach(rows).columns["verdict"].tolist()) == {Verdict.SILENT}
        with injection.follow():
            either.execute("sh", "-c", f"{target} day 5; {target} day 2; exit 0")
        counts = np.zeros(len(rows), int)
        for signal in either.receiver.receive(injection, 0):
            counts[int(signal.probe.rpartition(":")[2])] = signal.count
        by_event_counts, below_counts = np.split(counts, 2)
        assert dict(zip(TRACED, below_counts, strict=True)) == dict(zip(TRACED, by_event_counts, strict=True))
        # 5 + 1 and 2 + 1, and 1 of the shell's own; the shell executes two programs, and each of them forks.
        assert below_counts[TRACED.index("syscalls:sys_enter_getppid")] == 10
        assert below_counts[TRACED.index("sched:sched_process_exec")] == 3
        assert below_counts[TRACED.index("sched:sched_process_exit")] == 5
    shows("tracepoint", "exact, below and by perf events")


def test_raw_tracepoints_and_syscalls(either, target, shows):
    names = ("rawtracepoint:sched_process_exit", "rawtracepoint:sched_process_fork", "syscall:getppid")
    with either.trial(*names) as trial:
        trial.run(target, "day", 6)
        assert trial.hits() == {"sched_process_exit": 2, "sched_process_fork": 1, "getppid": 7}
        assert trial.lost == 0
        trial.injection.detach(trial.rows)
        trial.run(target, "day", 6)
        assert trial.hits() == {"sched_process_exit": 2, "sched_process_fork": 1, "getppid": 7}
    shows("rawtracepoint, syscall", "exact")
    with either.open_points(
        [RawTracepointPoint("no_such_tracepoint")], either.injector._features
    ) as injection:
        assert injection.attach(np.arange(1)).columns["verdict"].tolist() == [Verdict.REFUSED]


def test_page_faults_are_those_of_the_fresh_pages_and_of_starting(bench, target, shows):
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


def test_a_period_divides_the_samples(bench, target):
    with bench.trial("software:page-faults:1", "software:page-faults:500") as trial:
        trial.run(target, "pages", 3000)
        hits = trial.hits()
        # Each CPU counts down from the period for itself, and for all processes: a sample may be another's.
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
def test_software_events_fire(bench, target, probe, work, least):
    with bench.trial(probe) as trial:
        trial.run(target, *work)
        assert sum(trial.hits().values()) >= least


@pytest.mark.parametrize("event", ["alignment-faults", "cpu-migrations", "emulation-faults", "major-faults"])
def test_the_rarer_software_events_attach(bench, event):
    with bench.trial(f"software:{event}", scope=Scope.HOST) as trial:
        assert trial.outcome.columns["verdict"].tolist() == [Verdict.SILENT]
