"""Syscalls and tracepoints on the real kernel: counts are exact, told from others by independent means."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from collections import Counter

import numpy as np
import pytest
from ebpf_bot_linux.points import SyscallPoint

from ebpf_bot_core import Reason, Scope, Verdict

pytestmark = pytest.mark.live

CALLER = """
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        for (int i = 0; i < 7; i++) syscall(SYS_getppid);
        for (int i = 0; i < 3; i++) close(open("/dev/null", O_RDONLY));
        syscall(SYS_getuid); syscall(-1); syscall(100000); syscall(SYS_getppid | 0x40000000);
        if (!fork()) { for (int i = 0; i < 4; i++) syscall(SYS_getppid); _exit(0); }
        wait(0);
        return 0;
    }
"""


def test_syscalls_are_counted_as_strace_counts_them(bench, build, tmp_path):
    caller = build(CALLER, name="caller")
    log = tmp_path / "strace"
    subprocess.run(["strace", "-f", "-o", str(log), str(caller)], check=True, timeout=60)
    names = re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE)
    oracle = Counter(name for name in names if not name.startswith("syscall_"))
    oracle["execve"] -= 1  # the one that starts it comes before it is covered
    oracle["getppid"] = 11  # strace also names the one of the x32 table so
    del oracle["restart_syscall"]
    with bench.trial("syscall:*") as trial:
        trial.run(caller)
        assert trial.hits() == {name: calls for name, calls in oracle.items() if calls}
        assert trial.lost == 0


def test_32_bit_syscalls_of_a_64_bit_program_are_not_mistaken(bench, build):
    """`int $0x80` with 39 is mkdir of the 32-bit table; 39 of the 64-bit table is getpid."""
    caller = build(
        """
        #include <unistd.h>
        static long old(long number) {
            long result;
            asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0L), "c"(0L), "d"(0L) : "memory");
            return result;
        }
        int main(void) {
            for (int i = 0; i < 5; i++) old(39);   /* mkdir(NULL): EFAULT */
            for (int i = 0; i < 5; i++) old(110);  /* iopl; getppid of the 64-bit table */
            return getppid() == 0 || old(64) != getppid();  /* getppid of the 32-bit table */
        }
        """,
        name="old",
    )
    with bench.trial("syscall:getpid", "syscall:getppid", "syscall:semget") as trial:
        assert trial.run(caller).returncode == 0
        assert trial.hits() == {"getppid": 2}


def test_a_syscall_that_is_detached_is_quiet_and_the_others_stay(bench, build):
    caller = build(CALLER, name="caller")
    with bench.trial("syscall:getppid", "syscall:getuid", keep=False) as trial:
        trial.injection.detach(np.array([0]))
        trial.run(caller)
        assert trial.hits() == {"getuid": 1}
        trial.injection.detach(np.array([1]))
        trial.run(caller)
        assert trial.hits() == {"getuid": 1}
        trial.injection.attach(np.array([0]))
        trial.run(caller)
        assert trial.hits() == {"getuid": 1, "getppid": 1}


@pytest.mark.parametrize("kind", ["rawtracepoint", "tracepoint:sched"])
def test_the_end_of_every_process_is_seen_and_no_one_elses(bench, kind):
    with bench.trial(
        f"{kind}:sched_process_exit", f"{kind}:sched_process_exec", f"{kind}:sched_process_fork"
    ) as trial:
        trial.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; exit 0")
        trial.run("sh", "-c", "/bin/true; exit 0", follow=False)
        assert trial.hits() == {"sched_process_exit": 11, "sched_process_exec": 11, "sched_process_fork": 10}


def test_tracepoints_and_raw_tracepoints_and_syscalls_agree(bench, build):
    caller = build(CALLER, name="caller")
    names = (
        "syscall:getppid",
        "tracepoint:syscalls:sys_enter_getppid",
        "tracepoint:syscalls:sys_exit_getppid",
    )
    with bench.trial(*names, "rawtracepoint:sys_enter", "tracepoint:raw_syscalls:sys_enter") as trial:
        trial.run(caller)
        hits = trial.hits()
        assert hits["getppid"] == hits["sys_enter_getppid"] == hits["sys_exit_getppid"] == 11
        assert hits["sys_enter"] > 30
        by_probe = {row.probe: row for row in trial.outcome}
        assert by_probe["rawtracepoint:sys_enter"].verdict is Verdict.SILENT


def test_all_tracepoints_of_a_category_come_and_go(bench, capsys):
    with bench.trial("tracepoint:sched:*", scope=Scope.HOST, keep=False) as trial:
        assert set(trial.outcome.columns["verdict"]) == {Verdict.SILENT}
        trial.run("true", follow=False)
        assert {"sched_switch", "sched_process_exec"} <= set(trial.hits(timeout=1))
        trial.injection.detach(trial.rows)
        assert set(trial.injection.inspect().columns["opportunities"].tolist()) == {1}


def test_a_raw_tracepoint_that_is_not_there_is_refused_and_the_others_attach(bench):
    with bench.open("rawtracepoint:sched_process_exec") as (_, found):
        pass
    names = [*found.probes, "rawtracepoint:no_such_tracepoint"]
    with bench.open_names(names) as injection:
        outcome = injection.attach(np.array([1, 0]))
        assert outcome.columns["verdict"].tolist() == [Verdict.REFUSED, Verdict.SILENT]
        assert outcome.columns["reason"].tolist() == [Reason.NOT_FOUND, Reason.NONE]
        assert "no_such_tracepoint" in outcome.details[0]


def test_a_row_that_was_not_found_is_refused_if_it_is_tried_all_the_same(bench):
    with bench.open_names(["uprobe:/bin/true:no_such_function", "syscall:getppid"]) as injection:
        outcome = injection.attach(np.array([0, 1]))
        assert outcome.columns["verdict"].tolist() == [Verdict.REFUSED, Verdict.SILENT]
        assert outcome.columns["reason"][0] == Reason.NOT_FOUND


def test_where_descriptors_run_out_the_rest_is_refused_and_the_command_still_starts(bench):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with bench.open("rawtracepoint:*") as (injection, found):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 200, before[1])
            )
            outcome = injection.attach(np.arange(len(found)))
            verdicts = Counter(outcome.columns["verdict"].tolist())
            assert 100 < verdicts[Verdict.SILENT] < len(found)
            refused = outcome.columns["verdict"] == Verdict.REFUSED
            assert set(outcome.columns["reason"][refused]) == {Reason.ATTACH_LIMIT}
            assert "ulimit -n" in outcome.details[int(np.flatnonzero(refused)[0])]
            with injection.follow():
                assert subprocess.run("true", stdout=subprocess.PIPE, check=True, timeout=60)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_number_that_no_syscall_can_have_is_refused(bench):
    with bench.open_points([SyscallPoint(110), SyscallPoint(1 << 20)]) as injection:
        outcome = injection.attach(np.arange(2))
        assert outcome.columns["verdict"].tolist() == [Verdict.SILENT, Verdict.REFUSED]
        assert "1048576" in outcome.details[1]
