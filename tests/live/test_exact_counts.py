"""What is counted is exactly what happened: in the command, in all its children, and in no one else."""

import subprocess
import time

import pytest

from tests.live.conftest import FUNCTIONS, calls, hits

pytestmark = pytest.mark.live

ONE_ROUND = {f"f{i:04d}": calls(i) for i in range(FUNCTIONS)}


def times(rounds: int) -> dict[str, int]:
    return {name: count * rounds for name, count in ONE_ROUND.items()}


@pytest.mark.parametrize(("arguments", "rounds"), [("w", 1), ("www", 3), ("f", 1), ("e", 1), ("wffew", 5)])
def test_every_count_of_2000_functions_is_exact(cover, workload, arguments, rounds):
    document = cover(
        "--keep",
        "--expect",
        f"uprobe:{workload}:f0*",
        "--expect",
        f"uprobe:{workload}:f1*",
        "--",
        workload,
        *arguments,
    )
    assert hits(document) == times(rounds)
    assert document["signals"] == sum(times(rounds).values())
    assert document["signals_lost"] == 0


def test_without_keep_the_set_that_fired_is_exact(cover, workload):
    document = cover("--expect", f"uprobe:{workload}:f????", "--", workload, "w", "f", "w")
    verdicts = {probe["probe"].rpartition(":")[2]: probe["verdict"] for probe in document["probes"]}
    assert verdicts == {name: "fired" if count else "silent" for name, count in ONE_ROUND.items()}
    assert {probe["reason"] for probe in document["probes"]} == {None, "not-called"}


def test_another_process_of_the_same_program_does_not_count(cover, workload):
    rounds = 200
    other = subprocess.Popen([workload, *["w"] * 20, "s1", *["w"] * rounds])
    try:
        document = cover("--keep", "--expect", f"uprobe:{workload}:f????", "--", workload, "w", "s2", "w")
        assert hits(document) == times(2)
    finally:
        assert other.wait(timeout=60) == 0


def test_functions_that_return(cover, workload):
    document = cover("--keep", "--expect", f"uretprobe:{workload}:f00??", "--", workload, "w", "f")
    assert hits(document) == {name: 2 * count for name, count in ONE_ROUND.items() if name.startswith("f00")}


def test_a_program_that_never_ran_is_told_from_one_that_was_not_called(cover, workload):
    unrun = cover("--expect", f"uprobe:{workload}:f000?", "--", "true")
    assert {probe["reason"] for probe in unrun["probes"]} == {"never-executed"}
    assert {probe["opportunities"] for probe in unrun["probes"]} == {0}
    idle = cover("--expect", f"uprobe:{workload}:f000?", "--", workload)
    assert {probe["reason"] for probe in idle["probes"]} == {"not-called"}
    assert {probe["opportunities"] for probe in idle["probes"]} == {1}


SYSCALLS = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  for (int i = 0; i < 1234; i++) syscall(SYS_getppid);
  for (int i = 0; i < 77; i++) syscall(SYS_getuid);
  for (int i = 0; i < 5; i++) { int fd = syscall(SYS_openat, AT_FDCWD, "/nowhere", O_RDONLY, 0); (void)fd; }
  syscall(SYS_exit_group, 0);
}
"""


@pytest.fixture(scope="session")
def caller(tmp_path_factory):
    folder = tmp_path_factory.mktemp("syscalls")
    (folder / "caller.c").write_text(SYSCALLS)
    subprocess.run(
        ["gcc", "-static", "-O1", "-o", folder / "caller", folder / "caller.c"], check=True, timeout=60
    )
    return folder / "caller"


def test_system_calls_are_exact(cover, caller):
    """strace, which stops the program at every call, is the independent count."""
    report = subprocess.run(
        ["strace", "-f", "-qq", "-c", "-U", "calls,name", caller],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stderr
    counted = {}
    for line in report.splitlines():
        words = line.split()
        if len(words) == 2 and words[0].isdigit() and words[1] != "total":
            counted[words[1]] = int(words[0])
    assert counted["getppid"] == 1234, report
    counted.pop("execve")  # made by whoever starts the program, before the program exists
    document = cover("--keep", "--expect", "syscall:*", "--", caller)
    mine = {name: count for name, count in hits(document).items() if count}
    # strace's summary leaves out calls that do not return.
    mine.pop("exit_group", None)
    counted.pop("exit_group", None)
    assert mine == counted


def test_system_calls_of_everyone_else_do_not_count(cover, caller):
    noise = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    other = subprocess.Popen([caller.parent / "caller"])
    try:
        document = cover("--keep", "--expect", "syscall:getppid", "--expect", "syscall:getuid", "--", caller)
        assert hits(document) == {"getppid": 1234, "getuid": 77}
    finally:
        noise.kill()
        noise.wait()
        other.wait(timeout=10)


def test_tracepoints_both_ways(cover):
    """Five children, one after the other: so many forks, executions and exits."""
    document = cover(
        "--keep",
        *("--expect", "tracepoint:sched:sched_process_exec"),
        *("--expect", "rawtracepoint:sched_process_exec"),
        *("--expect", "tracepoint:sched:sched_process_fork"),
        *("--", "sh", "-c", "for i in 1 2 3 4 5; do /bin/true; done; :"),
    )
    by_probe = {probe["probe"]: probe["hits"] for probe in document["probes"]}
    assert by_probe["tracepoint:sched:sched_process_fork"] == 5
    assert by_probe["tracepoint:sched:sched_process_exec"] == by_probe["rawtracepoint:sched_process_exec"]
    assert by_probe["tracepoint:sched:sched_process_exec"] in (5, 6), (
        "whether the command's own counts is a matter of order"
    )


def test_2000_functions_do_not_hold_anyone_up(cover, workload):
    """The figures are in benchmarks/; here only that nothing has gone badly wrong."""
    began = time.monotonic()
    cover("--expect", f"uprobe:{workload}:f????", "--", workload, "w")
    assert time.monotonic() - began < 10
