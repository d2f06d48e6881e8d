"""uprobe, uretprobe and usdt, by links and by perf events: the same exact counts."""

from __future__ import annotations

import os

import numpy as np
import pytest
from ebpf_bot_linux.attaching import code_events
from ebpf_bot_linux.features import Features, try_uprobe_multi
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.points import FunctionPoint

from ebpf_bot_core import ProbePattern, Reason, Verdict

pytestmark = [pytest.mark.live, pytest.mark.kernels]

WITHOUT = Features(uprobe_multi=False, kprobe_multi=False, raw_cookies=False)


def test_functions_returns_and_usdt_points(either, target, shows):
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
    way = "one link" if either.injector._features.uprobe_multi else "perf events"
    shows("uprobe, uretprobe, usdt", f"exact, by {way}")


def test_one_event_serves_every_cpu(either, target):
    cpus = sorted(os.sched_getaffinity(0))
    with either.trial(f"uprobe:{target}:work") as trial:
        for cpu in cpus:
            trial.run("taskset", "-c", cpu, target, "day", 10)
        assert trial.hits() == {"work": 22 * len(cpus)}


def test_what_fired_is_stepped_off_and_the_rest_stays(either, target):
    with either.trial(f"uprobe:{target}:work", f"uprobe:{target}:twice", keep=False) as trial:
        trial.injection.detach(trial.rows[:1])
        trial.run(target, "day", 5)
        assert trial.hits() == {"twice": 1}


def test_a_bad_place_is_refused_alone(either, target):
    found = either.injector.find([ProbePattern.parse(f"uprobe:{target}:work")])
    (good,) = either.injector._finder.points(found.probes)
    start, size = good.binary.segments[0]
    bad = FunctionPoint(good.binary, (start + size + (1 << 24),), on_return=False)
    with either.open_points([bad, good, bad], either.injector._features) as injection:
        outcome = injection.attach(np.arange(3))
        assert outcome.columns["verdict"].tolist() == [Verdict.REFUSED, Verdict.SILENT, Verdict.REFUSED]


def test_without_the_privilege_perf_events_are_refused_with_the_reason(bench_with, target, monkeypatch):
    """The kernel's answer is given by hand here; test_kernel_privileges.py has the processes that lack it."""

    def denied(*_, **__):
        raise KernelError("open a uprobe", 13)

    monkeypatch.setattr(code_events.perf_events, "open_place", denied)
    with bench_with(WITHOUT).trial(f"uprobe:{target}:work") as trial:
        (row,) = trial.outcome
        assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.PERMISSION)
        assert "CAP_SYS_ADMIN" in row.detail


def test_this_kernel_is_tried_and_not_believed():
    """A kernel has uprobe_multi if and only if its code for it is there."""
    with open("/proc/kallsyms") as symbols:
        has = any(line.split()[2] == "bpf_uprobe_multi_link_attach" for line in symbols)
    assert (try_uprobe_multi() is None) == has
