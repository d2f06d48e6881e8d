"""The same plan gives the same map on every backend for real probes: verdicts, reasons, and exact counts."""

import subprocess

import pytest

from tests.live.conftest import FUNCTIONS, calls

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("bcc")]

BACKENDS = ("libbpf", "bcc")
TRACEPOINTS = (
    "sched:sched_process_fork",
    "sched:sched_process_exec",
    "sched:sched_process_exit",
    "task:task_newtask",
    "signal:signal_generate",
    "syscalls:sys_enter_getppid",
    "syscalls:sys_exit_getppid",
    "syscalls:sys_enter_getuid",
    "syscalls:sys_enter_openat",
    "syscalls:sys_exit_openat",
)
CALLER = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
  signal(SIGUSR1, SIG_IGN);
  for (int i = 0; i < 123; i++) syscall(SYS_getppid);
  for (int i = 0; i < 77; i++) syscall(SYS_getuid);
  for (int i = 0; i < 5; i++) { int fd = syscall(SYS_openat, AT_FDCWD, "/nowhere", O_RDONLY, 0); (void)fd; }
  for (int i = 0; i < 3; i++) kill(getpid(), SIGUSR1);
  for (int i = 0; i < 4; i++) { if (!fork()) _exit(0); wait(0); }
  return 0;
}
"""
SCRIPT = """
import json, re
def f(n): return n if n < 2 else f(n - 1) + f(n - 2)
print(f(12), len(json.dumps([str(i) for i in range(50)])), re.sub('a', 'b', 'banana'))
"""


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caller")
    (folder / "caller.c").write_text(CALLER)
    subprocess.run(
        ["gcc", "-static", "-O1", "-o", folder / "caller", folder / "caller.c"], check=True, timeout=60
    )
    return folder / "caller"


@pytest.fixture
def maps(cover):
    """Run a plan on every backend; return what each says of each probe."""

    def run(patterns, *command, env=None):
        expected = [word for pattern in patterns for word in ("--expect", pattern)]
        said = {}
        for backend in BACKENDS:
            document = cover("--keep", "--backend", backend, *expected, "--", *command, env=env)
            assert document["signals_lost"] == 0
            assert {run["backend"] for run in document["runs"]} == {backend}
            said[backend] = {
                row["probe"]: (row["verdict"], row["reason"], row["hits"], row["opportunities"])
                for row in document["probes"]
            }
        return said

    return run


def hits(of_backend):
    return {probe.rpartition(":")[2]: count for probe, (_, _, count, _) in of_backend.items()}


def test_2000_functions(maps, workload):
    said = maps([f"uprobe:{workload}:f????", f"uretprobe:{workload}:f00??"], workload, "w", "f", "e")
    assert said["bcc"] == said["libbpf"]
    entries = {p: said["bcc"][p][2] for p in said["bcc"] if p.startswith("uprobe:")}
    assert entries == {f"uprobe:{workload}:f{i:04d}": 3 * calls(i) for i in range(FUNCTIONS)}


def test_libcrypto(maps):
    said = maps(["uprobe:libcrypto:EVP_*"], "openssl", "dgst", "-sha256", "/etc/hostname")
    assert said["bcc"] == said["libbpf"]
    assert sum(count > 0 for count in hits(said["bcc"]).values()) > 100


def test_all_system_calls(maps, caller):
    said = maps(["syscall:*"], caller)
    assert said["bcc"] == said["libbpf"]
    assert hits(said["bcc"])["getppid"] == 123
    assert hits(said["bcc"])["getuid"] == 77


def test_ten_tracepoints(maps, caller):
    said = maps([f"tracepoint:{name}" for name in TRACEPOINTS], caller)
    assert said["bcc"] == said["libbpf"]
    assert {name: said["bcc"][f"tracepoint:{name}"][2] for name in TRACEPOINTS[5:]} == {
        "syscalls:sys_enter_getppid": 123,
        "syscalls:sys_exit_getppid": 123,
        "syscalls:sys_enter_getuid": 77,
        "syscalls:sys_enter_openat": 5,
        "syscalls:sys_exit_openat": 5,
    }
    assert hits(said["bcc"])["sched_process_fork"] == 4
    assert hits(said["bcc"])["signal_generate"] >= 3


def test_usdt_of_python(maps):
    said = maps(
        ["usdt:/usr/bin/python3.11:python:*"],
        *("/usr/bin/python3.11", "-I", "-S", "-c", SCRIPT),
        env={"PYTHONHASHSEED": "0"},
    )
    assert said["bcc"] == said["libbpf"]
    assert len(said["bcc"]) >= 8
    assert hits(said["bcc"])["function__entry"] > 400


def test_software_events_and_raw_tracepoints(maps, caller):
    said = maps(
        ["rawtracepoint:sched_process_fork", "rawtracepoint:task_newtask", "software:page-faults:1"], caller
    )
    faults = {backend: of.pop("software:page-faults:1") for backend, of in said.items()}
    assert said["bcc"] == said["libbpf"]
    assert said["bcc"]["rawtracepoint:task_newtask"][2] == 4
    assert {fault[0] for fault in faults.values()} == {"fired"}  # how many depends on what is in memory


def test_what_cannot_be_probed_has_the_same_reason(maps, caller):
    said = maps(
        [
            "kprobe:do_nanosleep",
            "fentry:do_nanosleep",
            "uprobe:/nonexistent:*",
            "syscall:no_such",
            "tracepoint:no:such",
            "uprobe:libc:memcpy",
            "uprobe:libc:getpid",
        ],
        caller,
    )
    assert said["bcc"] == said["libbpf"]
