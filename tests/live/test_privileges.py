"""Without privileges a clear answer; with CAP_BPF and CAP_PERFMON alone everything works as for root."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.live.conftest import ENVIRONMENT, FUNCTIONS, calls, hits

pytestmark = pytest.mark.live

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
CAPABLE = (*NOBODY, "--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon")


@pytest.fixture
def world_writable(tmp_path_factory):
    """A folder that every user can reach: pytest's own are private to root."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.fixture
def python(world_writable):
    """An interpreter that another user may execute, with our packages; the one at hand may lie in a private home."""
    reachable = subprocess.run(
        [*NOBODY, sys.executable, "-c", "import ebpf_bot_core"], capture_output=True, check=False, timeout=30
    )
    if reachable.returncode == 0:
        return (sys.executable,), {}
    paths = [path for path in sys.path if path]
    return ("/usr/bin/python3",), {"PYTHONPATH": os.pathsep.join(paths)}


def run(prefix, python, cwd, *arguments):
    interpreter, extra = python
    return subprocess.run(
        [*prefix, *interpreter, "-m", "ebpf_bot_core", *map(str, arguments)],
        cwd=cwd,
        env={**ENVIRONMENT, **extra},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def program(workload, world_writable):
    copy = world_writable / "workload"
    copy.write_bytes(workload.read_bytes())
    copy.chmod(0o755)
    return copy


def test_no_privileges(python, program, world_writable):
    result = run(
        NOBODY, python, world_writable, "run", "--expect", f"uprobe:{program}:f????", "--", "touch", "started"
    )
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2, result.stderr
    assert lines[0].startswith("error: ")
    assert "CAP_BPF" in lines[1]
    assert not (world_writable / "started").exists()
    stored = run(NOBODY, python, world_writable, "report", "--format", "json")
    assert {probe["reason"] for probe in json.loads(stored.stdout)["probes"]} == {"permission"}
    told = run(NOBODY, python, world_writable, "doctor")
    assert told.returncode == 2
    assert "CAP_BPF" in told.stdout


def test_the_two_capabilities_are_enough(python, program, world_writable):
    result = run(
        CAPABLE, python, world_writable, "run", "--json", "--keep", "--expect", f"uprobe:{program}:f????",
        "--expect", "syscall:exit_group", "--expect", "rawtracepoint:sched_process_exit", "--", program, "w", "f", "e",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    counted = hits(json.loads(result.stdout))
    assert {name: counted[name] for name in counted if name.startswith(("f0", "f1"))} == {
        f"f{i:04d}": 3 * calls(i) for i in range(FUNCTIONS)
    }
    assert counted["exit_group"] == 3
    assert counted["sched_process_exit"] == 3


def test_an_unreadable_binary(python, program, world_writable):
    program.chmod(0o711)
    result = run(CAPABLE, python, world_writable, "run", "--expect", f"uprobe:{program}:f0001", "--", "true")
    assert result.returncode == 2
    assert "unreadable" in result.stderr


def test_a_folder_that_cannot_be_written(python, program, world_writable):
    os.chmod(world_writable, 0o555)
    os.chown(world_writable, 0, 0)
    result = run(CAPABLE, python, world_writable, "run", "--expect", f"uprobe:{program}:f0001", "--", "true")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2
    assert sorted(os.listdir(world_writable)) == ["workload"]
