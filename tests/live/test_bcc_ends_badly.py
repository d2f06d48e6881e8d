"""What goes wrong with BCC is exit status 2 with the compiler's or the verifier's words; nothing is attached or lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.conftest import ENVIRONMENT
from tests.live.test_ends_badly import eventually, links

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("bcc")]

GOOD = "int on_call(struct pt_regs *ctx) { return 0; }\n"
BROKEN = "#include <linux/sched.h>\nint on_call(struct pt_regs *ctx)\n{\n\treturn no_such_thing;\n}\n"
REJECTED = "int on_call(struct pt_regs *ctx) { u64 *nowhere = (u64 *)8; return *(volatile u64 *)nowhere; }\n"
WITHOUT_END = """
int on_call(struct pt_regs *ctx)
{
	volatile int x = 1;
	while (x) x++;
	return 0;
}
"""
PLAN = """
[plan]
name = "mine"
[[expect]]
probes = ["uprobe:libc:malloc"]
[stages]
injector = {{ name = "bcc", source = "probe.c", attach = {{ on_call = "uprobe:libc:malloc" }} {more} }}
"""


@pytest.fixture
def plan(tmp_path):
    def write(source, more=""):
        (tmp_path / "probe.c").write_text(source)
        (tmp_path / "plan.toml").write_text(PLAN.format(more=more))
        return "plan.toml"

    return write


@pytest.fixture
def stored(bot):
    """Store a run that went well; return what the store says of all runs."""

    def report():
        return json.loads(bot("report", "--format", "json").stdout)

    shown = bot("run", "--backend", "bcc", "--expect", "uprobe:libc:malloc", "--", "openssl", "version")
    assert shown.returncode == 0, shown.stderr
    return report


@pytest.mark.parametrize(
    ("source", "words", "log"),
    [
        (BROKEN, "probe.c:4: use of undeclared identifier 'no_such_thing'", "return no_such_thing;"),
        (REJECTED, "verifier rejects on_call of probe.c: ", "processed "),
        (WITHOUT_END, "verifier rejects on_call of probe.c: ", "processed "),
    ],
    ids=["does not compile", "is rejected", "does not end"],
)
def test_a_bad_source(bot, plan, stored, source, words, log):  # noqa: PLR0917 - fixtures and cases
    before, held = stored(), links()
    shown = bot("run", plan(source), "--", "echo", "started")
    assert shown.returncode == 2
    assert "started" not in shown.stdout
    assert "Traceback" not in shown.stderr
    said, _, line = shown.stderr.rpartition("\nerror: ")
    assert words in line, shown.stderr
    assert log in said, shown.stderr
    assert "hint: " in shown.stderr
    assert not links() - held
    after = stored()
    assert [run for run in after["runs"] if run["id"] in {each["id"] for each in before["runs"]}] == before[
        "runs"
    ]
    assert after["totals"]["fired"] == before["totals"]["fired"] == 1


def test_a_worker_that_is_killed(tmp_path, plan, stored):
    before, held = stored(), links()
    plan(
        "#include <linux/sched.h>\n"
        + "".join(f"int unused_{i}(void *ctx) {{ return {i}; }}\n" for i in range(2000))
        + GOOD
    )
    run = subprocess.Popen(
        [sys.executable, "-m", "ebpf_bot_core", "run", "plan.toml", "--", "echo", "started"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert eventually(lambda: worker_of(run.pid), 30), "no worker was seen"
        os.kill(worker_of(run.pid), signal.SIGKILL)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 2, err
    assert "the worker that compiles probe.c was ended by signal 9 (Killed)" in err
    assert "started" not in out
    assert not links() - held
    assert stored()["totals"] == before["totals"]


def test_a_worker_goes_with_the_bot(tmp_path, plan):
    plan("".join(f"int unused_{i}(void *ctx) {{ return {i}; }}\n" for i in range(2000)) + GOOD)
    run = subprocess.Popen(
        [sys.executable, "-m", "ebpf_bot_core", "run", "plan.toml", "--", "true"],
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert eventually(lambda: worker_of(run.pid), 30)
        worker = worker_of(run.pid)
    finally:
        run.kill()
        run.wait()
    assert eventually(
        lambda: not Path(f"/proc/{worker}").exists() or " Z " in Path(f"/proc/{worker}/stat").read_text()
    )


def test_bcc_that_is_not_there(bot, plan, tmp_path):
    (tmp_path / "empty").mkdir()
    shown = bot("run", plan(GOOD, ', module = "empty"'), "--", "true")
    assert shown.returncode == 2
    assert "BCC's Python module is not in empty" in shown.stderr
    assert "apt-get install python3-bpfcc" in shown.stderr


def test_another_project_of_that_name(bot, plan, tmp_path):
    (tmp_path / "site" / "bcc").mkdir(parents=True)
    (tmp_path / "site" / "bcc" / "__init__.py").write_text("raise SystemExit('not imported, I hope')\n")
    shown = bot("run", plan(GOOD, ', module = "site"'), "--", "true")
    assert shown.returncode == 2
    assert "is not BCC but another project of that name" in shown.stderr
    assert "python3-bpfcc" in shown.stderr


def worker_of(pid: int) -> int:
    """The worker that a process has started; 0 if there is none."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            if b"worker.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        except OSError:
            continue
    time.sleep(0)
    return 0
