"""What all tests share: skips are failures where the strict switch is set, and small programs to probe are built."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from ebpf_bot_core import EbpfBotError

STRICT = os.environ.get("EBPF_BOT_STRICT") == "1"
SECONDS = 60
"""More than any compilation here takes."""

Build = Callable[..., Path]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that skipped although this machine is meant to run everything."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped under EBPF_BOT_STRICT=1: {reason}"
    return report


@pytest.fixture
def bcc() -> None:
    """Skip a test where the distribution's BCC is not installed."""
    plugin = pytest.importorskip("ebpf_bot_bcc.bcc_module")
    try:
        plugin.find_bcc()
    except EbpfBotError as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compile a program from C or assembly and return its path."""

    def compile_it(source: str, *flags: str, name: str = "target", language: str = "c") -> Path:
        binary = tmp_path / name
        source_file = tmp_path / f"{name}.{language}"
        source_file.write_text(textwrap.dedent(source))
        command = ["gcc", "-O1", "-w", str(source_file), "-o", str(binary), "-pthread", *flags]
        subprocess.run(command, check=True, timeout=SECONDS)
        return binary

    return compile_it


@pytest.fixture
def build_made(build: Build) -> Build:
    """Compile `made_functions.c` with further flags; GCC makes copies, parts and versions of its functions."""
    source = (Path(__file__).parent / "tests" / "made_functions.c").read_text(encoding="utf-8")
    return lambda *flags: build(source, "-O2", "-fipa-cp-clone", "-g", *flags, name="made")


@pytest.fixture
def made(build_made: Build) -> Path:
    """The program of `made_functions.c`, in which all is there that the tests count on."""
    path = build_made()
    listed = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    symbols = {line.split()[-1] for line in listed.splitlines()}
    assert symbols >= {
        "only_copy.constprop.0",
        "whole_and_copy",
        "whole_and_copy.constprop.0",
        "whole_and_part",
        "whole_and_part.part.0",
        "only_part.part.0",
        "with_cold.cold",
        "also_inlined",
        "versions.avx2",
    }
    assert not symbols & {"only_copy", "only_part", "everywhere", "twice_over"}
    return path
