"""Containers that run another build of an expected binary at its path: it is probed too, once it is noticed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ebpf_bot_linux.features import Features
from ebpf_bot_linux.testing import SECONDS, Bench, Trial

from ebpf_bot_core import Mode, ProbeEvidence, ProbePattern, Reason, Scope, Verdict

from .conftest import Build
from .containers import APP, Container

pytestmark = pytest.mark.live

Start = Callable[..., Container]
WITHOUT = Features(uprobe_multi=False, kprobe_multi=False, raw_cookies=False)
OTHER = """
    #include <stdio.h>
    __attribute__((noinline)) int unlike(int x) { asm volatile("nop"); return 3 * x; }
    __attribute__((noinline)) int f(int x) { asm volatile("xor %%eax, %%eax" ::: "eax"); return unlike(x) + 2; }
    int main(void) {
      int n, x = 0;
      while (scanf("%d", &n) == 1) { while (n--) x = f(x); puts("done"); fflush(stdout); }
      return 0;
    }
"""
"""Another build of APP: f is elsewhere and begins otherwise, and `only_inside` is not there."""


@pytest.fixture
def app(build: Build) -> Path:
    return build(APP, "-static", name="app")


@pytest.fixture
def other(build: Build) -> Path:
    return build(OTHER, "-static", "-O2", name="other")


def known(trial: Trial) -> dict[str, ProbeEvidence]:
    return {row.probe.rpartition(":")[2]: row for row in trial.injection.inspect()}


def notice(trial: Trial) -> dict[str, ProbeEvidence]:
    """Inspect until something is said of f, as a run does step by step."""
    until = time.monotonic() + SECONDS
    while (rows := known(trial))["f"].verdict is Verdict.PENDING:
        assert time.monotonic() < until
    return rows


@pytest.mark.parametrize("features", [None, WITHOUT], ids=["links", "events"])
def test_every_call_counts_from_when_it_is_noticed(
    bench_with: Callable[[Features | None], Bench],
    container: Start,
    app: Path,
    other: Path,
    features: Features | None,
) -> None:
    with bench_with(features).trial(f"uprobe:{app}:f", f"uretprobe:{app}:f") as trial:
        with trial.injection.follow():
            inside = container(other)
        inside.call(5)
        assert trial.hits() == {}
        row = notice(trial)["f"]
        assert (row.verdict, row.reason) == (Verdict.SILENT, Reason.OTHER_FILE)
        assert f"{inside.seen_app}: it is probed too, but what it ran before that was not seen" in row.detail
        assert row.opportunities == 1
        inside.call(1234)
        assert trial.hits() == {"f": 2 * 1234}  # the call and the return


def test_the_same_site_counts_for_both_files(bench: Bench, container: Start, app: Path, other: Path) -> None:
    with bench.trial(f"uprobe:{app}:f") as trial:
        with trial.injection.follow():
            inside = container(other)
        notice(trial)
        inside.call(10)
        with trial.injection.follow():
            here = subprocess.Popen([app], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        Container(here, here.pid, app).call(100)
        here.communicate(timeout=SECONDS)
        assert trial.hits() == {"f": 110}


def test_a_function_that_the_other_build_lacks_stays_blind(
    bench: Bench, container: Start, app: Path, other: Path
) -> None:
    with bench.trial(f"uprobe:{app}:f", f"uprobe:{app}:only_inside") as trial:
        with trial.injection.follow():
            inside = container(other)
        rows = notice(trial)
        assert rows["f"].verdict is Verdict.SILENT
        lacking = rows["only_inside"]
        assert (lacking.verdict, lacking.reason) == (Verdict.BLIND, Reason.OTHER_FILE)
        assert f"{inside.seen_app}, in which no probe of this name can be placed" in lacking.detail


def test_what_ended_before_it_was_noticed_is_not_seen(
    bench: Bench, container: Start, app: Path, other: Path
) -> None:
    """The README says so; nothing is claimed of it."""
    with bench.trial(f"uprobe:{app}:f") as trial:
        with trial.injection.follow():
            inside = container(other)
        inside.call(5)
        inside.stop()
        assert known(trial)["f"].verdict is Verdict.PENDING
        assert trial.hits() == {}


def test_a_function_that_fired_is_taken_off_in_both(
    bench: Bench, container: Start, app: Path, other: Path
) -> None:
    with bench.trial(f"uprobe:{app}:f", f"uprobe:{app}:main", keep=False) as trial:
        with trial.injection.follow():
            inside = container(other)
        notice(trial)
        inside.call(5)
        assert trial.hits() == {"f": 1}
        trial.injection.detach(trial.rows[:1])
        until = time.monotonic() + SECONDS  # the kernel lets go of it in the background
        before = 0.0
        while (now := trial.injection.cost()[0]) != before:
            assert time.monotonic() < until
            before = now
            inside.call(1000)
        trial.injection.attach(trial.rows[:1])
        inside.call(1)
        assert trial.injection.cost()[0] > before


def test_no_call_is_lost_or_counted_twice_while_another_function_is_taken_off(
    bench: Bench, container: Start, app: Path, other: Path
) -> None:
    with bench.trial(f"uprobe:{app}:f", f"uprobe:{app}:main", f"uprobe:{app}:puts") as trial:
        with trial.injection.follow():
            inside = container(other)
        notice(trial)
        calls = 200_000
        inside.begin(calls)
        for row in (1, 2):
            trial.injection.detach(trial.rows[row : row + 1])
        inside.end()
        assert trial.hits()["f"] == calls


def test_several_containers_with_builds_of_their_own(
    bench: Bench, container: Start, app: Path, other: Path
) -> None:
    with bench.trial(f"uprobe:{app}:f") as trial:
        with trial.injection.follow():
            insides = [container(other), container(), container(other)]
        notice(trial)
        for inside in insides:
            inside.call(7)
        assert trial.hits() == {"f": 21}


CALLER = """
    #include <stdio.h>
    int f(int), g(int);
    int main(void) {
      int n, x = 0;
      while (scanf("%d", &n) == 1) { while (n--) x = f(x); puts("done"); fflush(stdout); }
      return 0;
    }
"""
TWO_FUNCTIONS = (
    CALLER
    + """
    __attribute__((noinline)) int f(int x) { asm volatile(""); return x + 1; }
    __attribute__((noinline)) int g(int x) { asm volatile(""); return x + 2; }
"""
)
ONE_FUNCTION = (
    CALLER
    + """
    __attribute__((noinline)) int f(int x) { asm volatile("nop"); return x + 1; }
    __attribute__((alias("f"))) int g(int x);
"""
)


def test_functions_that_are_one_in_the_other_build_count_each(
    bench: Bench, container: Start, build: Build
) -> None:
    app, other = build(TWO_FUNCTIONS, "-static", name="app"), build(ONE_FUNCTION, "-static", name="other")
    with bench.trial(f"uprobe:{app}:f", f"uprobe:{app}:g", f"uprobe:{app}:main") as trial:
        with trial.injection.follow():
            inside = container(other)
        notice(trial)
        calls = 200_000
        inside.begin(calls)
        trial.injection.detach(trial.rows[2:])
        inside.end()
        assert trial.hits() == {"f": calls, "g": calls}
        trial.injection.detach(trial.rows[1:2])
        inside.call(5)
        assert trial.hits() == {"f": calls + 5, "g": calls}


def test_functions_that_are_one_only_here_cannot_be_told_apart_there(
    bench: Bench, container: Start, build: Build
) -> None:
    app, other = build(ONE_FUNCTION, "-static", name="app"), build(TWO_FUNCTIONS, "-static", name="other")
    with bench.trial(f"uprobe:{app}:f", f"uprobe:{app}:g") as trial:
        with trial.injection.follow():
            inside = container(other)
        rows = notice(trial)
        assert {(row.verdict, row.reason) for row in rows.values()} == {(Verdict.BLIND, Reason.OTHER_FILE)}
        assert "shares its code" in rows["g"].detail
        inside.call(5)
        assert trial.hits() == {}


ARMED = """
    #define _SDT_HAS_SEMAPHORES 1
    #include <stdio.h>
    #include <sys/sdt.h>
    unsigned short shop_f_semaphore __attribute__((section(".probes")));
    __attribute__((noinline)) int f(int x) { if (shop_f_semaphore) DTRACE_PROBE1(shop, f, x); return x; }
    int main(void) {
      int n, x = 0;
      while (scanf("%d", &n) == 1) { while (n--) x = f(x); puts("done"); fflush(stdout); }
    }
"""


def test_usdt_probes_count_and_have_their_semaphores_up(bench: Bench, container: Start, build: Build) -> None:
    app, other = build(ARMED, "-static", name="app"), build(ARMED, "-static", "-O3", "-fPIE", name="other")
    with bench.trial(f"usdt:{app}:shop:f") as trial:
        with trial.injection.follow():
            inside = container(other)
        notice(trial)
        inside.call(50)
        assert trial.hits() == {"f": 50}


def test_functions_are_streamed_and_usdt_probes_are_blind(
    bench: Bench, container: Start, build: Build
) -> None:
    """The places of a USDT probe's arguments are told to the kernel once, for the expected file."""
    app, other = build(ARMED, "-static", name="app"), build(ARMED, "-static", "-O3", "-fPIE", name="other")
    found = bench.injector.find(
        [ProbePattern.parse(f"{probe}:f") for probe in (f"uprobe:{app}", f"usdt:{app}:shop")]
    )
    with bench.injector.open(found.probes, scope=Scope.COMMAND, mode=Mode.STREAM, keep=True) as injection:
        trial = Trial(injection, bench.receiver, np.arange(2), injection.attach(np.arange(2)))
        with injection.follow():
            inside = container(other)
        notice(trial)
        inside.call(50)
        assert trial.hits() == {"f": 50}
        function, usdt = injection.inspect()
        assert function.verdict is Verdict.SILENT
        assert (usdt.verdict, usdt.reason) == (Verdict.BLIND, Reason.OTHER_FILE)


def test_a_library_of_a_root(bench: Bench, build: Build, tmp_path: Path) -> None:
    function = "int f(int x) { return x + 1; }"
    libraries = ["-shared", "-fPIC"]
    there = build("int h(int x) { return x; } int f(int x) { return 5 * x; }", *libraries, name="other.so")
    here = build(function, *libraries, name="libf.so")
    app = build(CALLER, str(here), name="app")
    root = tmp_path / "root"
    listed = subprocess.run(["ldd", app], check=True, capture_output=True, text=True).stdout
    needed = {word for word in listed.split() if word.startswith("/") and word != str(here)}
    for file, path in [(there, here), (app, app), *((Path(name), Path(name)) for name in needed)]:
        inside = root / path.relative_to("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, inside)
    with bench.trial(f"uprobe:{here}:f") as trial:
        first = in_root(trial, root, app)
        notice(trial)
        first.call(30)
        first.stop()
        assert trial.hits() == {"f": 30}


def in_root(trial: Trial, root: Path, app: Path) -> Container:
    with trial.injection.follow():
        process = subprocess.Popen(
            ["chroot", root, app], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    inside = Container(process, process.pid, app)
    inside.call(0)
    return inside


@pytest.fixture
def rooted(tmp_path: Path, app: Path, other: Path) -> Path:
    """A root in which the other build is at the path of the first."""
    root = tmp_path / "root"
    there = root / app.relative_to("/")
    there.parent.mkdir(parents=True)
    other.rename(there)
    return root


def test_processes_that_share_a_root_share_the_probes(bench: Bench, app: Path, rooted: Path) -> None:
    with bench.trial(f"uprobe:{app}:f") as trial:
        first = in_root(trial, rooted, app)
        notice(trial)
        first.call(3)
        first.stop()
        second = in_root(trial, rooted, app)
        second.call(4)
        known(trial)
        second.call(5)
        second.stop()
        assert trial.hits() == {"f": 12}
        assert known(trial)["f"].opportunities == 1


def test_an_overwritten_file_loses_its_probes_and_is_examined_anew(
    bench: Bench, app: Path, other: Path, rooted: Path
) -> None:
    there = rooted / app.relative_to("/")
    with bench.trial(f"uprobe:{app}:f") as trial:
        first = in_root(trial, rooted, app)
        notice(trial)
        first.call(3)
        first.stop()
        there.write_bytes(app.read_bytes())
        trial.injection.detach(trial.rows[:0])  # looks at once
        row = known(trial)["f"]
        assert (row.verdict, row.reason) == (Verdict.BLIND, Reason.BINARY_REPLACED)
        assert "overwritten" in row.detail
        second = in_root(trial, rooted, app)
        second.call(4)
        trial.injection.detach(trial.rows[:0])
        second.call(5)
        second.stop()
        assert trial.hits() == {"f": 8}
