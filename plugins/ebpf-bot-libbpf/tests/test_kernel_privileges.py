"""What is needed to probe: CAP_BPF and CAP_PERFMON, not root; and what is said where they are missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ebpf_bot_linux.finding.tracefs import Tracefs

pytestmark = pytest.mark.live

CAPABILITIES = ("--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon")
NO_CAPABILITIES = ("--inh-caps=-all", "--bounding-set=-all")

SCRIPT = """
import json, subprocess, sys
from collections import Counter
import numpy as np
from ebpf_bot_core import EbpfBotError, Mode, ProbeTable, Scope
from ebpf_bot_libbpf.plugin import ebpf_bot_diagnose as diagnose
from ebpf_bot_libbpf.stages import LibbpfInjector
from ebpf_bot_linux import StreamOptions
from ebpf_bot_linux.points import TracepointPoint
from ebpf_bot_libbpf.stages import LibbpfReceiver

target, tracepoint, mode = sys.argv[1:]
strings = (f"usdt:{target}:app:work:arg0",) if mode == "stream" else ()
injector = LibbpfInjector(StreamOptions(strings=strings))
names = [f"uprobe:{target}:work", f"uretprobe:{target}:work", "syscall:getppid", "rawtracepoint:sched_process_exit", f"usdt:{target}:app:work"]
points = injector._finder.points
by_id = TracepointPoint(int(tracepoint))
injector._finder.points = lambda names: [
    by_id if name.startswith("tracepoint") else point for name, point in zip(names, points(names))
]
names.append("tracepoint:sched:sched_process_exit")
said = {"doctor": {each.subject: [each.ok, each.remedy] for each in diagnose()}}
try:
    with injector.open(ProbeTable(tuple(names)), scope=Scope.COMMAND, mode=Mode(mode), keep=True) as injection:
        outcome = injection.attach(np.arange(len(names)))
        with injection.follow():
            process = subprocess.Popen([target])
        process.wait()
        said["hits"] = Counter()
        for signal in LibbpfReceiver().receive(injection, 0):
            said["hits"][signal.probe.split(":")[0]] += signal.count
        said["verdicts"] = [row.verdict.label + row.detail for row in outcome]
except EbpfBotError as error:
    said |= {"error": error.message, "hint": error.hint, "errno": error.errno, "type": type(error).__name__}
print(json.dumps(said))
"""


@pytest.fixture
def said(build, bench):
    """Return what a process says that probes with some privileges."""
    target = build(
        """
        #define _SDT_HAS_SEMAPHORES 1
        #include <sys/sdt.h>
        #include <unistd.h>
        unsigned short app_work_semaphore __attribute__((section(".probes")));
        __attribute__((noinline)) int work(int x) {
            if (app_work_semaphore) DTRACE_PROBE1(app, work, "a text");
            return x + getppid();
        }
        int main(void) { volatile int x = 0; for (int i = 0; i < 5; i++) x = work(x); return 0; }
        """
    )
    for directory in (target.parent, target.parent.parent, target.parent.parent.parent):
        directory.chmod(0o755)
    with Tracefs() as tracefs:
        tracepoint = tracefs.event_id("sched", "sched_process_exit")

    def ask(*prefix, mode="count"):
        command = [*prefix, sys.executable, "-c", SCRIPT, str(target), str(tracepoint), mode]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
        return json.loads(done.stdout)

    return ask


def nobody(*capabilities):
    return ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *capabilities)


@pytest.mark.parametrize("mode", ["count", "stream"])
def test_a_user_with_the_two_capabilities_can_probe_everything(said, mode):
    said = said(*nobody(*CAPABILITIES), mode=mode)
    assert said.get("verdicts") == ["silent"] * 6, said
    once = dict.fromkeys(("rawtracepoint", "tracepoint"), 1)
    assert said["hits"] == dict.fromkeys(("uprobe", "uretprobe", "usdt", "syscall"), 5) | once
    assert said["doctor"]["libbpf: privileges"][0]
    assert said["doctor"]["libbpf: its own programs"][0]
    assert not said["doctor"]["libbpf: tracefs"][0]


@pytest.mark.parametrize(
    ("capabilities", "missing"),
    [
        (NO_CAPABILITIES, "CAP_BPF and CAP_PERFMON"),
        (("--inh-caps=+bpf", "--ambient-caps=+bpf"), "CAP_PERFMON"),
        (("--inh-caps=+perfmon", "--ambient-caps=+perfmon"), "CAP_BPF"),
    ],
)
def test_a_user_without_them_is_told_which_and_how(said, capabilities, missing):
    said = said(*nobody(*capabilities))
    assert said["type"] == "BackendError"
    assert said["errno"] == 1
    assert said["error"].endswith(f"without {missing}")
    assert "CAP_BPF and CAP_PERFMON" in said["hint"]
    assert "--backend simulated" in said["hint"]
    ok, remedy = said["doctor"]["libbpf: privileges"]
    assert not ok
    assert "setpriv" in remedy
    assert not said["doctor"]["libbpf: load a program"][0]


def test_root_behind_a_seccomp_filter_is_told_of_it(said, tmp_path, build):
    """As in a container: all capabilities, and yet EPERM."""
    wrapper = build(
        """
        #include <errno.h>
        #include <linux/filter.h>
        #include <linux/seccomp.h>
        #include <stddef.h>
        #include <sys/prctl.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int main(int c, char **v) {
            struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
            };
            struct sock_fprog program = { sizeof code / sizeof *code, code };
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 1;
            execvp(v[1], v + 1);
            return 1;
        }
        """,
        name="filtered",
    )
    said = said(wrapper)
    assert "seccomp" in said["hint"]
    assert said["errno"] == 1
    ok, remedy = said["doctor"]["libbpf: seccomp"]
    assert not ok
    assert "--security-opt seccomp=unconfined" in remedy


def test_root_finds_everything_well(said):
    if os.geteuid() != 0:
        pytest.skip("not root")
    said = said()
    lacks = {subject for subject, (ok, _) in said["doctor"].items() if not ok}
    assert lacks <= {"libbpf: kprobe, kretprobe", "libbpf: fentry, fexit"}  # see tests/kernels
    assert said["verdicts"] == ["silent"] * 6
