"""kprobe, kretprobe, fentry and fexit: exact counts on every kernel that can have them, else the reason."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from ebpf_bot_core import ProbePattern, Verdict
from ebpf_bot_linux.points import FentryPoint, KprobePoint, Point
from ebpf_bot_linux.testing.bench import SECONDS, Bench
from ebpf_bot_linux.testing.kinds import KindTests, Shows

__all__ = ["KernelFunctionTests"]

_UNLINK: Final = "__x64_sys_unlink"
"""Entered twice in each round of a day; it has no name but this one."""
_STORMED: Final = tuple(
    f"__x64_sys_{call}"
    for call in (
        *("getpgid", "getsid", "umask", "sched_getscheduler"),
        *("sched_get_priority_max", "sched_get_priority_min"),
    )
)


class KernelFunctionTests(KindTests):
    """Probes on functions of the kernel."""

    @pytest.mark.parametrize("kind", ["kprobe", "kretprobe", "fentry", "fexit"])
    def test_calls_of_a_function_of_the_kernel(
        self, either: Bench, target: Path, lacking: dict[str, str], shows: Shows, kind: str
    ) -> None:
        """Those that are followed count, others do not, and nothing is left behind."""
        if kind in lacking:
            found = either.injector.find([ProbePattern.parse(f"{kind}:{_UNLINK}")])
            assert [(row.verdict, row.reason.code) for row in found] == [(Verdict.REFUSED, lacking[kind])]
            shows(kind, f"refused: {lacking[kind]}")
            return
        with either.trial(f"{kind}:{_UNLINK}") as trial:
            trial.run(target, "day", 7)
            trial.run(target, "day", 7, follow=False)
            assert trial.hits() == {_UNLINK: 16}
            assert trial.lost == 0
            assert trial.injection.cost()[0] > 0
            trial.injection.detach(trial.rows)
            trial.run(target, "day", 7)
            assert trial.hits() == {_UNLINK: 16}
        way = "one link" if either.features.kprobe_multi else "perf events"
        shows(kind, f"exact, by {way}" if "probe" in kind else "exact")

    def test_a_function_of_the_kernel_is_counted_under_all_its_names(
        self, either: Bench, target: Path, lacking: dict[str, str]
    ) -> None:
        """A syscall without arguments has two: tracefs lists `__do_sys_getppid` alone."""
        if "kprobe" in lacking:
            assert lacking["kprobe"] == "kernel-config"
            return
        names = ("__x64_sys_getppid", "__do_sys_getppid")
        with either.trial(*(f"kprobe:{name}" for name in names)) as trial:
            trial.run(target, "day", 7)
            assert trial.hits() == dict.fromkeys(names, 8)

    @pytest.mark.parametrize("kind", ["kprobe", "kretprobe"])
    def test_those_that_stay_are_counted_exactly_while_others_leave_under_fire(
        self, either: Bench, target: Path, lacking: dict[str, str], shows: Shows, kind: str
    ) -> None:
        """Each that leaves gives a hit of the others the chance to be seen twice, or by nobody."""
        names = [f"{kind}:{function}" for function in _STORMED]
        if kind in lacking:
            found = either.injector.find([ProbePattern.parse(name) for name in names])
            assert set(found.columns["verdict"]) == {Verdict.REFUSED}
            return
        *leaving, stays, stays_too = _STORMED
        with either.trial(*names) as trial:
            row_of = {trial.injection.probes[row]: row for row in trial.rows.tolist()}
            with trial.injection.follow():
                storm = subprocess.Popen(
                    [target, "storm", "3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            for function in leaving:
                enough = trial.hits().get(stays, 0) + 1000
                while trial.hits(timeout=1).get(stays, 0) < enough:
                    assert storm.poll() is None
                trial.injection.detach(np.array([row_of[f"{kind}:{function}"]]))
            rounds = int(storm.communicate(timeout=SECONDS)[0])
            hits = trial.hits()
            assert (hits[stays], hits[stays_too], trial.lost) == (rounds, rounds, 0)
            assert 0 < hits[leaving[0]] < hits[leaving[-1]] < rounds
        shows(kind, "exact while others leave")

    def test_what_a_kprobe_costs_is_timed_where_one_link_takes_many(
        self, bench: Bench, lacking: dict[str, str]
    ) -> None:
        """Elsewhere it is as documented."""
        if "kprobe" in lacking:
            return
        with bench.trial(f"kprobe:{_UNLINK}") as trial:
            costs = trial.injection._costs._kprobe_costs()
            assert costs.measured == bench.features.kprobe_multi
            assert 0 < costs.entry < costs.on_return < 1e-3

    @pytest.mark.parametrize("kind", ["kprobe", "fentry"])
    def test_a_pattern_takes_many_functions_and_one_that_is_refused_concerns_no_other(
        self, bench: Bench, target: Path, lacking: dict[str, str], kind: str
    ) -> None:
        """Some of them the kernel may refuse, whichever these are."""
        found = bench.injector.find([ProbePattern.parse(f"{kind}:vfs_*")])
        assert len(found) > 30
        if kind in lacking:
            assert set(found.columns["verdict"]) == {Verdict.REFUSED}
            return
        with bench.trial(f"{kind}:vfs_*", f"{kind}:{_UNLINK}", keep=False) as trial:
            assert (trial.outcome.columns["verdict"] == Verdict.SILENT).sum() > 30
            trial.run(target, "day", 1)
            assert {_UNLINK, "vfs_write"} <= set(trial.hits())
            trial.injection.detach(np.arange(1))
            trial.run(target, "day", 1)

    @pytest.mark.parametrize("kind", ["kprobe", "fentry"])
    def test_a_function_that_is_not_there_is_refused_alone(
        self, either: Bench, lacking: dict[str, str], kind: str
    ) -> None:
        """It is first and last of what is attached together."""
        there: Point
        if kind in lacking:
            there = KprobePoint((_UNLINK,), on_return=False)
        else:
            (there,) = either.points(f"{kind}:{_UNLINK}")
        away: Point = (
            KprobePoint(("no_such_function",), on_return=False)
            if kind == "kprobe"
            else FentryPoint((1 << 31) - 1, on_return=False)
        )
        with either.open_points([away, there, away], either.features) as injection:
            verdicts = injection.attach(np.arange(3)).columns["verdict"].tolist()
            works = Verdict.REFUSED if kind in lacking else Verdict.SILENT
            assert verdicts == [Verdict.REFUSED, works, Verdict.REFUSED]
