"""However a run ends, no probe stays attached, and what was acknowledged is there."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.conftest import ENVIRONMENT, MARK

pytestmark = pytest.mark.live

KILLS = 50
SLEEPING = ("35", "230")
"""nanosleep, clock_nanosleep of x86-64."""
LINK_ID = re.compile(r"^link_id:\s*(\d+)", re.MULTILINE)


def links() -> set[int]:
    """The ids of the eBPF links that these tests have made, and of those that nobody holds any more."""
    return in_kernel() - held_by_others()


def held_by_others() -> set[int]:
    """The ids of the links that are held by processes that these tests have not started."""
    held = set()
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # gone meanwhile
            for fd in os.listdir(f"/proc/{process}/fd"):
                with contextlib.suppress(OSError):
                    link = os.readlink(f"/proc/{process}/fd/{fd}")
                    if link == "anon_inode:bpf_link" and not started_here(Path("/proc", process)):
                        held.update(
                            map(int, LINK_ID.findall(Path(f"/proc/{process}/fdinfo/{fd}").read_text()))
                        )
    return held


def started_here(process: Path) -> bool:
    return process.name == str(os.getpid()) or MARK.encode() in (process / "environ").read_bytes().split(
        b"\0"
    )


def in_kernel() -> set[int]:
    """The ids of all links, as bpftool tells them; it gives up where one goes while it looks."""
    for _ in range(20):
        shown = subprocess.run(
            ["bpftool", "-j", "link", "list"], capture_output=True, text=True, check=False, timeout=30
        )
        if shown.returncode == 0:
            return {link["id"] for link in json.loads(shown.stdout or "[]")}
        time.sleep(0.01)
    raise AssertionError(shown.stdout + shown.stderr)


def start(cwd, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "ebpf_bot_core", "run", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background may ignore SIGINT, and what is ignored is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def has_worked(process: subprocess.Popen[str]) -> bool:
    """Whether what a run covers has made its calls, and sleeps."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        with contextlib.suppress(OSError):  # gone meanwhile
            if Path(f"/proc/{child}/comm").read_text() == "workload\n":
                return Path(f"/proc/{child}/syscall").read_text().split()[0] in SLEEPING
    return False


def eventually(condition, seconds=10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_command_and_run_with_a_whole_report(tmp_path, workload, bot, number):
    before = links()
    process = start(tmp_path, "--expect", f"uprobe:{workload}:f????", "--", workload, "w", "s60")
    assert eventually(lambda: has_worked(process), 60), "never started, or never slept"
    assert links() - before
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + number, err
    assert "probes fired" in out
    assert eventually(lambda: not links() - before)
    document = json.loads(bot("report", "--format", "json").stdout)
    assert document["runs"][0]["finished"]
    assert document["runs"][0]["exit_status"] == 128 + number
    assert document["totals"]["fired"] > 1000


@pytest.mark.parametrize("store", ["sqlite:evidence.db", "file:evidence"])
def test_sigkill_at_random_moments(tmp_path, workload, bot, store):
    """What had been saved is read back before and after; it only grows."""
    chance = random.Random(20)
    before = links()
    fired_ever: dict[str, int] = {}
    attached_seen = 0
    for turn in range(KILLS // 2):
        command = start(
            tmp_path, "--keep", "--store", store, "--expect", f"uprobe:{workload}:f????", "--",
            workload, *["w", "w", "w", "s1"] * 10,
        )  # fmt: skip
        if turn % 5:
            eventually(lambda: links() - before, 5)
        time.sleep(chance.uniform(0, 0.6))
        attached_seen += bool(links() - before)
        os.killpg(command.pid, signal.SIGKILL)
        command.communicate(timeout=20)
        assert eventually(lambda: not links() - before), "a probe stayed attached"
        report = bot("report", "--store", store, "--format", "json")
        if report.returncode == 2 and "no store" in report.stderr + report.stdout:
            continue  # killed before anything was acknowledged
        if report.returncode == 2 and "holds no run" in report.stderr:
            continue
        assert report.returncode == 0, report.stderr
        document = json.loads(report.stdout)
        now = {probe["probe"]: probe["hits"] for probe in document["probes"]}
        assert all(now[probe] >= hits for probe, hits in fired_ever.items()), "something acknowledged is gone"
        fired_ever = now
    assert attached_seen > KILLS // 5, "the kills came before anything was attached: the test tested nothing"
    assert sum(fired_ever.values()) > 0


def test_the_target_runs_on_at_full_speed_after_a_kill(tmp_path, workload):
    before = links()
    target = subprocess.Popen([workload, "s60"])
    try:
        process = start(tmp_path, "--expect", f"uprobe:{workload}:f????", "--for", "60s")
        assert eventually(lambda: links() - before)
        process.kill()
        process.communicate(timeout=20)
        assert eventually(lambda: not links() - before)
        assert target.poll() is None
    finally:
        target.kill()
        target.wait()


def test_a_full_disk_is_one_clear_line_and_the_store_stays_readable(tmp_path, workload):
    """On a tmpfs of 256 KiB in a mount namespace of its own."""
    for store in ("sqlite:small/x.db", "file:small/x"):
        script = (
            f"mkdir -p {tmp_path}/small && mount -t tmpfs -o size=256k tmpfs {tmp_path}/small && cd {tmp_path} && "
            f"{sys.executable} -m ebpf_bot_core run --store {store} --expect 'uprobe:{workload}:*' -- {workload} w w; "
            f"echo status $?; rm -f small/filler; {sys.executable} -m ebpf_bot_core report --store {store}; echo report $?"
        )
        shown = subprocess.run(
            ["unshare", "-m", "sh", "-c", script],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "status 2" in shown.stdout, shown.stdout + shown.stderr
        assert shown.stderr.startswith("error: "), shown.stderr
        assert "Traceback" not in shown.stderr
        assert len(shown.stderr.strip().splitlines()) <= 4, shown.stderr
