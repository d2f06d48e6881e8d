"""What BCC's programs read of the kernel's structs is right: without headers, and with those of another kernel installed."""

import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.conftest import ENVIRONMENT

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("bcc")]

PACKAGES = Path(__file__).parents[2] / "build" / "other-kernel"
SOURCE = """
#include <linux/sched.h>
struct seen { u32 tgid; u32 pid; char comm[TASK_COMM_LEN]; };
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(sched, sched_process_exec)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct seen seen = { .tgid = task->tgid, .pid = task->pid };

	bpf_probe_read_kernel(&seen.comm, sizeof(seen.comm), task->comm);
	events.perf_submit(args, &seen, sizeof(seen));
	return 0;
}
"""
PLAN = """
[plan]
name = "mine"
[[expect]]
probes = ["tracepoint:*:*"]
[stages]
injector = { name = "bcc", source = "probe.c" }
"""


@pytest.fixture(scope="module")
def other_headers():
    """Debian's headers of a kernel that does not run here, unpacked once."""
    folder = PACKAGES / "usr" / "src"
    if not list(folder.glob("linux-headers-*-amd64")):
        PACKAGES.mkdir(parents=True, exist_ok=True)

        def apt(*words):
            return subprocess.run(
                words, cwd=PACKAGES, capture_output=True, text=True, timeout=300, check=False
            )

        listed = apt("apt-cache", "depends", "linux-headers-amd64").stdout
        if "Depends:" not in listed:
            apt("apt-get", "update", "-qq")
            listed = apt("apt-cache", "depends", "linux-headers-amd64").stdout
        found = re.search(r"Depends: (linux-headers-(\S+)-amd64)", listed)
        if not found:
            pytest.skip("apt knows no linux-headers-amd64")
        common = f"linux-headers-{found[2]}-common"
        got = apt("apt-get", "download", "-qq", found[1], common)
        if got.returncode:
            pytest.skip(f"{found[1]} cannot be downloaded: {got.stderr.strip()}")
        for package in PACKAGES.glob("*.deb"):
            assert apt("dpkg-deb", "-x", str(package), str(PACKAGES)).returncode == 0
            package.unlink()
    (generated,) = folder.glob("linux-headers-*-amd64")
    (common,) = folder.glob("linux-headers-*-common")
    assert generated.name.removeprefix("linux-headers-") != platform.release()
    return generated, common


@pytest.fixture
def as_installed(tmp_path, other_headers):
    """A way to run things in a mount namespace in which those headers stand where the running kernel's would."""
    generated, common = other_headers
    there = f"/lib/modules/{platform.release()}"
    script = (
        f"mkdir -p /lib/modules && mount -t tmpfs tmpfs /lib/modules && mkdir {there} "
        f'&& ln -s {generated} {there}/build && ln -s {common} {there}/source && exec "$@"'
    )
    return ("unshare", "--mount", "sh", "-c", script, "sh")


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "probe.c").write_text(SOURCE)
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path / "plan.toml"


def seen(bot, tmp_path, prefix=(), env=None):
    """Run a command whose one child executes a program; return what the source saw, and what is so."""
    command = ["sh", "-c", "sh -c 'exec sleep 0' & echo $!; wait"]
    shown = bot("run", "plan.toml", "--keep", "--mode", "stream", "--", *command, prefix=prefix, env=env)
    assert shown.returncode == 0, shown.stderr
    with sqlite3.connect(tmp_path / ".ebpf-bot.db") as db:
        rows = [json.loads(extra) for (extra,) in db.execute("select extra from signal_log")]
    return int(shown.stdout.split()[0]), [(row["tgid"], row["pid"], row["comm"]) for row in rows]


def check(child, found):
    assert (child, child, "sleep") in found, found
    assert {tgid == pid for tgid, pid, _ in found} == {True}
    assert {comm for _, _, comm in found} == {"sh", "sleep"}


def test_without_headers(bot, plan, tmp_path):
    if Path(f"/lib/modules/{platform.release()}/build").exists():
        pytest.skip("this kernel's headers are installed")
    check(*seen(bot, tmp_path))


def test_with_another_kernels_headers_installed(bot, plan, tmp_path, as_installed):
    check(*seen(bot, tmp_path, prefix=as_installed))


def test_with_another_kernels_headers_named(bot, plan, tmp_path, other_headers):
    check(*seen(bot, tmp_path, env={"BCC_KERNEL_SOURCE": str(other_headers[0])}))


def test_those_headers_do_read_wrongly(plan, as_installed):
    """The trap is there: BCC by itself takes them, compiles, and reads another field for the process id."""
    script = """
import sys
sys.path.append("/usr/lib/python3/dist-packages")
from bcc import BPF
b = BPF(text='''#include <linux/sched.h>
BPF_ARRAY(seen, u32, 1);
RAW_TRACEPOINT_PROBE(sched_process_exec) {
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    int zero = 0; u32 tgid = task->tgid;
    seen.update(&zero, &tgid); return 0; }''')
import os, subprocess
done = subprocess.Popen(["true"]); done.wait()
print(b["seen"][0].value == done.pid)
"""
    done = subprocess.run(
        [*as_installed, sys.executable, "-c", script],
        env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "False", done.stdout + done.stderr
