"""Every example runs, does what it says, and keeps the promises of the stages that it brings."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ebpf_bot_core import Plan, SignalProcessor, SignalStore
from ebpf_bot_core.testing import ProcessorTests, StoreRecordTests

EXAMPLES = Path(__file__).parents[1] / "examples"
THIRD_PARTY = EXAMPLES / "third_party_plugin"
COVERED = "coverage 88.9%  8 of 9 probes fired"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a program in an empty directory, with our commands on its PATH."""

    def start(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            arguments,
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "ENABLE_OTLP": "false", **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return start


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """Return a PYTHONPATH on which the third-party plugin is installed as far as its entry points go."""
    project = tomllib.loads((THIRD_PARTY / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    entries = [f"{name} = {module}" for name, module in project["entry-points"]["ebpf_bot"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[ebpf_bot]", *entries]))
    return f"{THIRD_PARTY / 'src'}:{info.parent}"


def test_embed_pipeline(run: Run):
    done = run(sys.executable, EXAMPLES / "embed_pipeline.py")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all("payment" in line for line in lines[:3]), "the agent's policy decides"
    assert lines[4].startswith("fired: main, "), "the agent's store has the evidence"
    spans = [line.split() for line in lines[6:]]
    assert ["store_save_signal", "AgentMemory"] in spans
    assert [span[0] for span in spans] == [
        "get_coverage",
        "decide_next_probe",
        "inject_probe",
        "receive_signal",
        "store_save_signal",
    ]


def test_stages_alone(run: Run):
    done = run(sys.executable, EXAMPLES / "stages_alone.py")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "4 of 4 attached"
    assert sum(line.endswith("signals, 0 lost") for line in lines) == 3
    assert "   syscall:openat 40 by nginx" in lines


def test_plan(run: Run):
    plan = Plan.read(EXAMPLES / "plan.toml")
    assert plan.budget.max_attached == 8
    done = run("ebpf-bot", "run", EXAMPLES / "plan.toml", "--for", "3s")
    assert done.returncode == 0, done.stderr
    assert "plan checkout" in done.stdout


@pytest.mark.live
@pytest.mark.usefixtures("bcc")
def test_bcc_program(run: Run, tmp_path: Path):
    shutil.copytree(EXAMPLES / "bcc_program", tmp_path, dirs_exist_ok=True)
    command = ("--mode", "stream", "--keep", "--", "openssl", "dgst", "-sha256", "/etc/hostname")
    done = run("ebpf-bot", "run", "plan.toml", *command)
    assert done.returncode == 0, done.stderr
    assert "coverage 100.0%  2 of 2 probes fired" in done.stdout
    with sqlite3.connect(tmp_path / ".ebpf-bot.db") as store:
        said = [json.loads(extra) for (extra,) in store.execute("select extra from signal_log") if extra]
        hits = dict(store.execute("select probe, sum(count) from signal_log group by probe"))
    paths = [each["path"] for each in said if "path" in each]
    assert {"/etc/ld.so.cache", "/etc/hostname"} <= set(paths)
    assert len(paths) == hits["tracepoint:syscalls:sys_enter_openat"]
    allocated = [each for each in said if "bytes" in each]
    assert allocated
    assert all(each["so_far"] >= each["bytes"] >= 4096 for each in allocated)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("80 uprobe:checkout:* -- sleep 0.3", 0, "80 % reached"),
        ("99 uprobe:checkout:* -- sleep 0.3", 1, "below 99 %"),
        ("80 uprobe:checkout:* -- timeout 0.3 sleep 9", 124, "the command ended with 124"),
        ("80 uprobe:checkout:* -- no-such-command", 2, "not judged"),
    ],
)
def test_ci_gate(run: Run, tmp_path: Path, arguments: str, status: int, said: str):
    done = run(EXAMPLES / "ci_gate.sh", *arguments.split(), BACKEND="simulated")
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert (COVERED in done.stdout) == (status != 2)
    assert (tmp_path / "coverage/coverage.json").exists() == (status != 2)


def test_ci_gate_shows_its_usage(run: Run):
    done = run(EXAMPLES / "ci_gate.sh", "80")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")


def test_third_party_plugin_conforms(run: Run):
    """The distribution's own tests pass, all of the kit among them."""
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", f"--rootdir={THIRD_PARTY}")
    done = run(
        sys.executable, "-m", "pytest", *options, THIRD_PARTY / "tests", PYTHONPATH=str(THIRD_PARTY / "src")
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_third_party_plugin_is_found(run: Run, installed: str):
    done = run("ebpf-bot", "plugins", PYTHONPATH=installed)
    assert "acme             ok  acme-ebpf-bot 0.1.0" in done.stdout
    assert (
        "injector bpftrace-log, receiver bpftrace-log, processor only-threads, store records" in done.stdout
    )


def test_third_party_plugin_runs(run: Run, installed: str, tmp_path: Path):
    """A plan that uses all of it: bpftrace's output becomes a coverage map."""
    (tmp_path / "listing").write_text("uprobe:/usr/bin/gzip:deflate\nuprobe:/usr/bin/gzip:inflate\n")
    (tmp_path / "log").write_text("")
    (tmp_path / "plan.toml").write_text(
        """
        [plan]
        name = "log"
        [[expect]]
        probes = ["uprobe:/usr/bin/gzip:*", "uprobe:/usr/bin/gzip:no_such"]
        [stages]
        injector = { name = "bpftrace-log", listing = "listing", log = "log" }
        processors = [{ name = "only-threads", names = ["gzip"] }]
        store = { name = "records", path = "evidence" }
        """
    )
    writer = subprocess.Popen(["sh", "-c", "sleep 1; echo uprobe:/usr/bin/gzip:deflate >> log"], cwd=tmp_path)
    done = run("ebpf-bot", "run", "plan.toml", "--for", "2s", PYTHONPATH=installed)
    assert writer.wait() == 0
    assert done.returncode == 0, done.stderr
    assert "1 of 3 probes fired" in done.stdout
    report = run("ebpf-bot", "report", "--store", "records:evidence", PYTHONPATH=installed)
    assert report.stdout.splitlines()[0] == done.stdout.splitlines()[0]


class TestSummaryOfStagesAlone(ProcessorTests):
    def make_processor(self) -> SignalProcessor:
        example: Any = runpy.run_path(str(EXAMPLES / "stages_alone.py"))
        return example["Summary"]()


class TestAgentMemoryOfEmbedPipeline(StoreRecordTests):
    example: Any = runpy.run_path(str(EXAMPLES / "embed_pipeline.py"))

    def open_store(self, path: Path) -> SignalStore:
        return _MEMORIES.setdefault(path, self.example["AgentMemory"]())


_MEMORIES: dict[Path, SignalStore] = {}


def test_every_example_is_tested():
    tested = Path(__file__).read_text()
    for path in EXAMPLES.iterdir():
        assert path.name in tested, path
