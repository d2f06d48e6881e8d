"""The exit status of the command line, each row of the page tried out."""

from __future__ import annotations

import pytest

PAGE = "reference/exit-status.md"
RUN = ("run", "--backend", "simulated", "--store", "memory", "--expect", "uprobe:checkout:*")
CASES = {
    "0": [
        (*RUN, "--for", "100ms"),
        (*RUN, "--", "true"),
        (*RUN, "--fail-under", "80", "--", "sleep", "0.3"),
        ("plugins",),
        ("run", "--help"),
    ],
    "1": [
        (*RUN, "--fail-under", "99", "--for", "100ms"),
        (*RUN, "--fail-under", "99", "--", "sh", "-c", "exit 7"),
    ],
    "2": [
        (),
        ("no-such-command",),
        ("run",),
        ("run", "no-such-plan.toml"),
        ("run", "--expect", "no-such-kind:x"),
        ("run", "--backend", "no-such-backend", "--expect", "syscall:*"),
        (*RUN, "--", "no-such-command"),
        ("run", "--backend", "simulated", "--store", "memory", "--expect", "uprobe:nope:*", "--", "true"),
        ("probes", "--backend", "simulated", "uprobe:nope:*"),
        ("report", "--store", "sqlite:no-such.db"),
    ],
    "the command's": [(*RUN, "--", "sh", "-c", "exit 7"), (*RUN, "--", "sh", "-c", "exit 2")],
    "128+n": [(*RUN, "--", "sh", "-c", "kill -TERM $$")],
}
STATUS = {"the command's": (7, 2), "128+n": (143,)}


def test_rows(page):
    assert list(page(PAGE).table("## ebpf-bot run")) == list(CASES)


@pytest.mark.parametrize(("row", "arguments"), [(row, each) for row, many in CASES.items() for each in many])
def test_status(ebpf_bot, row, arguments):
    ebpf_bot(*arguments, status=STATUS.get(row) or int(row))


def test_a_command_that_cannot_be_covered_is_not_started(ebpf_bot, tmp_path):
    ebpf_bot(*CASES["2"][-3][:-1], "touch", "started", status=2)
    assert not (tmp_path / "started").exists()
