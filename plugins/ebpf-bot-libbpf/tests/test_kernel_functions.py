"""uprobe and uretprobe on the real kernel: counts are exact, and what stays attached misses nothing."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ebpf_bot_linux.attaching import many_at_once
from ebpf_bot_linux.features import Features
from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.kernel_error import KernelError

from ebpf_bot_core import Reason, Scope, Verdict

pytestmark = pytest.mark.live

FUNCTIONS = 2000


def many_functions(count=FUNCTIONS, calls="i % 5"):
    """Return a program in which function i is called `calls` times, in each of argv[1] rounds."""
    bodies = "\n".join(
        f"__attribute__((noinline, used)) long f{i:05d}(long x) {{ return x * {2 * i + 3} + {i}; }}"
        for i in range(count)
    )
    table = ", ".join(f"f{i:05d}" for i in range(count))
    return f"""
        #include <stdio.h>
        #include <stdlib.h>
        {bodies}
        long (*all[])(long) = {{ {table} }};
        int main(int c, char **v) {{
            volatile long x = 1;
            int rounds = c > 1 ? atoi(v[1]) : 1;
            for (int round = 0; round < rounds; round++)
                for (int i = 0; i < {count}; i++)
                    for (int n = 0; n < ({calls}); n++) x = all[i](x);
            return 0;
        }}
    """


@pytest.fixture(scope="module")
def built_once(tmp_path_factory):
    directory = tmp_path_factory.mktemp("many")
    (directory / "many.c").write_text(many_functions())
    subprocess.run(["gcc", "-O1", "many.c", "-o", "many"], cwd=directory, check=True, timeout=60)
    return directory / "many"


@pytest.fixture
def many(built_once, tmp_path):
    """The program of 2,000 functions, as a file that nobody else probes."""
    return Path(shutil.copy(built_once, tmp_path / "many"))


def expected(rounds=1):
    return {f"f{i:05d}": i % 5 * rounds for i in range(FUNCTIONS) if i % 5}


def test_every_call_is_counted_where_hits_are_kept(bench, many):
    with bench.trial(f"uprobe:{many}:f0*") as trial:
        assert (trial.outcome.columns["verdict"] == Verdict.SILENT).all()
        assert (trial.outcome.columns["reason"] == Reason.NONE).all()
        trial.run(many, 3)
        assert trial.hits() == expected(rounds=3)
        trial.run(many, 1)
        assert trial.hits() == expected(rounds=4)
        assert trial.lost == 0


def test_the_set_of_those_that_fired_is_exact_where_hits_are_not_kept(bench, many):
    with bench.trial(f"uprobe:{many}:f0*", keep=False) as trial:
        trial.run(many, 3)
        assert trial.hits() == dict.fromkeys(expected(), 1)


def test_returns_are_counted_apart_from_entries(bench, build):
    target = build(
        """
        #include <unistd.h>
        __attribute__((noinline)) int comes_back(int x) { return x + 1; }
        __attribute__((noinline)) void goes_away(int x) { _exit(x); }
        int main(void) { volatile int x = comes_back(comes_back(1)); goes_away(0); }
        """
    )
    with bench.trial(f"uretprobe:{target}:comes_back", f"uretprobe:{target}:goes_away") as trial:
        trial.run(target)
        assert trial.hits() == {"comes_back": 2}
    with bench.trial(f"uprobe:{target}:*_*") as trial:
        trial.run(target)
        assert {name: trial.hits().get(name) for name in ("comes_back", "goes_away")} == {
            "comes_back": 2,
            "goes_away": 1,
        }


def test_aliases_share_a_place_and_namesakes_add_up(bench, build, tmp_path):
    for i in (1, 2):
        (tmp_path / f"part{i}.c").write_text(
            f"""
            static __attribute__((noinline)) int same(int x) {{ return x * {i + 2}; }}
            int part{i}(int x) {{ return same(x) + 1; }}
            """
        )
    target = build(
        """
        int part1(int), part2(int);
        __attribute__((noinline)) int real(int x) { return x + 5; }
        int other(int) __attribute__((alias("real")));
        int main(void) {
            volatile int x = 1;
            for (int i = 0; i < 3; i++) x = part1(x);
            for (int i = 0; i < 4; i++) x = part2(x);
            x = real(x); x = other(x);
            return 0;
        }
        """,
        str(tmp_path / "part1.c"),
        str(tmp_path / "part2.c"),
        "-fno-inline",
        "-fno-ipa-icf",
    )
    with bench.trial(*(f"uprobe:{target}:{name}" for name in ("same", "real", "other"))) as trial:
        trial.run(target)
        assert trial.hits() == {"same": 7, "real": 2, "other": 2}


def test_stepping_off_some_misses_no_first_hit_of_the_others(bench, many):
    with bench.trial(f"uprobe:{many}:f0*", keep=False) as trial:
        with trial.injection.follow():
            process = subprocess.Popen([many, "400"])
        attached = np.ones(len(trial.rows), bool)
        deadline = time.monotonic() + 60
        rounds = 0
        while process.poll() is None and time.monotonic() < deadline:
            before = set(trial.counted)
            fired = set(trial.hits(timeout=0.01)) - before
            names = [name.rpartition(":")[2] for name in trial.injection.probes]
            rows = np.array([row for row in trial.rows if names[row] in fired], np.intp)
            if len(rows):
                trial.injection.detach(rows)
                attached[rows] = False
                rounds += 1
        assert process.wait(10) == 0
        trial.hits()
        assert set(trial.counted) == set(expected())
        assert rounds
        assert attached.sum() == FUNCTIONS - len(expected())


def test_a_detached_probe_is_quiet_and_can_be_attached_again(bench, many):
    with bench.trial(f"uprobe:{many}:f0*") as trial:
        trial.injection.detach(trial.rows)
        trial.run(many)
        assert trial.hits() == {}
        again = trial.injection.attach(trial.rows)
        assert (again.columns["verdict"] == Verdict.SILENT).all()
        trial.run(many)
        assert trial.hits() == expected()


def test_attaching_twice_changes_nothing(bench, many):
    with bench.trial(f"uprobe:{many}:f0*") as trial:
        again = trial.injection.attach(trial.rows[::-1])
        assert list(again.probes) == [trial.injection.probes[row] for row in trial.rows[::-1]]
        assert (again.columns["verdict"] == Verdict.SILENT).all()
        trial.run(many)
        assert trial.hits() == expected()


def test_hits_from_before_detaching_are_still_received(bench, many):
    with bench.trial(f"uprobe:{many}:f0*") as trial:
        trial.run(many)
        trial.injection.detach(trial.rows)
        assert trial.hits() == expected()


def test_2000_functions_come_and_go_quickly(bench, many, capsys):
    with bench.open(f"uprobe:{many}:f0*") as (injection, found):
        rows = np.arange(len(found))
        began = time.perf_counter()
        injection.attach(rows)
        attached = time.perf_counter()
        injection.detach(rows)
        took = time.perf_counter() - began
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(rows)} functions: attach {attached - began:.3f} s, attach and detach {took:.3f} s\n"
        )
    assert took < 2


def test_opportunities_are_how_often_the_binary_was_loaded(bench, many):
    idle = shutil.copy(many, many.with_name("idle"))
    with bench.trial(f"uprobe:{many}:f0*", f"uprobe:{idle}:f0*", keep=False) as trial:
        assert not trial.injection.inspect().columns["opportunities"].any()
        for _ in range(3):
            trial.run(many)
        assert set(trial.injection.inspect().columns["opportunities"][:FUNCTIONS].tolist()) == {3}
        trial.injection.detach(trial.rows)
        trial.run(many)
        opportunities = trial.injection.inspect().columns["opportunities"]
        assert set(opportunities[:FUNCTIONS].tolist()) == {4}
        assert set(opportunities[FUNCTIONS:].tolist()) == {0}


def test_a_process_that_runs_already_has_at_least_one_opportunity(bench, build):
    target = build(
        """
        #include <stdio.h>
        __attribute__((noinline)) int work(int x) { return x + 1; }
        int main(void) { volatile int x = 0; puts("ready"); fflush(stdout); getchar(); x = work(x); return 0; }
        """
    )
    process = subprocess.Popen([target], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        with bench.trial(f"uprobe:{target}:work", scope=Scope.HOST) as trial:
            assert trial.injection.inspect().columns["opportunities"].tolist() == [0]
            process.communicate(b"\n", timeout=10)
            assert trial.hits() == {"work": 1}
            assert trial.injection.inspect().columns["opportunities"].tolist() == [1]
    finally:
        process.kill()
        process.wait(10)


def test_a_file_that_was_replaced_since_it_was_examined_is_refused(bench, build):
    target = build(many_functions(10))
    with bench.open(f"uprobe:{target}:f0*") as (injection, found):
        other = shutil.copy(target, target.with_name("other"))
        Path(other).replace(target)
        outcome = injection.attach(np.arange(len(found)))
        assert set(outcome.columns["verdict"]) == {Verdict.REFUSED}
        assert set(outcome.columns["reason"]) == {Reason.BINARY_REPLACED}
        assert str(target) in outcome.details[0]


def test_a_file_that_was_removed_since_it_was_examined_is_refused(bench, build):
    target = build(many_functions(10))
    with bench.open(f"uprobe:{target}:f0*") as (injection, found):
        target.unlink()
        outcome = injection.attach(np.arange(len(found)))
        assert set(outcome.columns["reason"]) == {Reason.BINARY_MISSING}


def test_a_file_that_is_replaced_while_attached_makes_its_probes_blind(bench, many):
    with bench.trial(f"uprobe:{many}:f0*") as trial:
        assert not (trial.injection.inspect().columns["verdict"] == Verdict.BLIND).any()
        Path(shutil.copy(many, many.with_name("other"))).replace(many)
        trial.run(many)
        assert trial.hits() == {}
        trial.injection.detach(trial.rows)
        now = trial.injection.inspect()
        assert set(now.columns["verdict"]) == {Verdict.BLIND}
        assert set(now.columns["reason"]) == {Reason.BINARY_REPLACED}
        assert "another file" in now.details[0]


def test_a_file_that_is_overwritten_in_place_loses_its_probes_before_they_harm_it(bench, build):
    target = build(many_functions(10))
    other = build('#include <stdio.h>\nint main(void) { puts("intact"); return 0; }', name="other")
    with bench.trial(f"uprobe:{target}:f0*") as trial:
        target.write_bytes(other.read_bytes())
        time.sleep(1.1)  # the files are looked at once a second
        blind = trial.injection.inspect()
        assert set(blind.columns["verdict"]) == {Verdict.BLIND}
        time.sleep(0.3)  # the links are closed in the background
        assert trial.run(target).stdout == b"intact\n"
        again = trial.injection.attach(trial.rows)
        assert set(again.columns["reason"]) == {Reason.BINARY_REPLACED}


def test_where_the_privilege_is_missing_all_are_refused_and_none_is_searched_for(
    bench_with, many, monkeypatch
):
    def refuse(*_, **__):
        raise KernelError("attach uprobes", errno.EPERM)

    bench = bench_with(Features(uprobe_multi=True, kprobe_multi=False, raw_cookies=False))
    monkeypatch.setattr(many_at_once, "isolate", lambda *_: pytest.fail("searched"))
    monkeypatch.setattr(syscalls, "attach_uprobes", refuse)
    with bench.open(f"uprobe:{many}:f0*", "syscall:getppid") as (injection, found):
        outcome = injection.attach(np.arange(len(found)))
        assert set(outcome.columns["reason"][:-1]) == {Reason.PERMISSION}
        assert outcome.columns["verdict"][-1] == Verdict.SILENT


def test_nothing_more_is_attached_to_a_file_that_was_replaced_meanwhile(bench, many):
    with bench.open(f"uprobe:{many}:f0*") as (injection, found):
        injection.attach(np.arange(10))
        Path(shutil.copy(many, many.with_name("other"))).replace(many)
        outcome = injection.attach(np.arange(5, len(found)))
        assert set(outcome.columns["verdict"][:5]) == {Verdict.SILENT}
        assert set(outcome.columns["reason"][5:]) == {Reason.BINARY_REPLACED}
