"""Binaries that are missing, broken or no binaries: one line and a hint, and the evidence is stored."""

import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.live


@pytest.fixture
def targets(tmp_path, workload):
    content = workload.read_bytes()
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "truncated").write_bytes(content[: len(content) // 3])
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "script").write_text("#!/bin/sh\ntrue\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, workload], check=True, timeout=30)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "binary-missing"),
        ("empty", "not-elf"),
        ("truncated", "malformed-elf"),
        ("text", "not-elf"),
        ("script", "not-elf"),
        ("folder", "not-elf"),
        ("fifo", "not-elf"),
        ("stripped", "no-symbols"),
    ],
)
def test_one_line_and_a_hint_before_the_command_starts(bot, targets, name, reason):
    result = bot("run", "--expect", f"uprobe:./{name}:f0001", "--", "touch", "started", cwd=targets)
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2, result.stderr
    assert lines[0].startswith("error: nothing of the plan can be attached")
    assert reason in lines[0]
    assert lines[1].startswith("hint: ")
    assert result.stdout == ""
    assert not (targets / "started").exists()
    document = json.loads(bot("report", "--format", "json", cwd=targets).stdout)
    assert [probe["reason"] for probe in document["probes"]] == [reason]


def test_one_bad_binary_is_a_row_beside_the_others(bot, targets, workload):
    result = bot(
        "run", "--json", "--expect", "uprobe:./text:*", "--expect", f"uprobe:{workload}:f0001",
        "--expect", f"uprobe:{workload}:nothing_like_it", "--", workload, "w", cwd=targets,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    verdicts = [(probe["verdict"], probe["reason"]) for probe in json.loads(result.stdout)["probes"]]
    assert verdicts == [("refused", "not-elf"), ("fired", None), ("missing", "not-found")]


def test_a_function_that_the_kernel_does_not_have(bot):
    result = bot("run", "--expect", "fentry:no_such_function", "--for", "1s")
    assert result.returncode == 2
    assert "no_such_function" in result.stderr
    assert "Traceback" not in result.stderr
