"""Turns skips into failures where the strict switch is set, so that CI cannot pass by skipping."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

STRICT = os.environ.get("EBPF_BOT_STRICT") == "1"


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
