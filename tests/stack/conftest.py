"""One local stack for the tests that only look at what has come through it, and what was sent to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from ..telemetry.otlp_receiver import ebpf_bot, environment
from .local_stack import LocalStack
from .programs import LONGEST, ROOT

GOOD_DAY = """
[plan]
name = "a good day"
[[expect]]
probes = ["uprobe:checkout:*"]
[stages]
injector = { name = "simulated", seed = 7 }
store = { name = "sqlite", path = "good.db" }
"""
BAD_DAY = """
[plan]
name = "a bad day"
[[expect]]
probes = ["uprobe:checkout:*", "uprobe:libspin:*", "uprobe:libpayments:pay_card_*", "uprobe:/srv/app:gone"]
[stages.injector]
name = "simulated"
seed = 7
lose = 0.2
fail_at = { receive = 60 }
[stages.injector.faults]
"uprobe:*:lock_*" = "verifier-rejected"
"uprobe:/srv/app:gone" = "not-found"
[stages.injector.blind]
"uprobe:*:pay_card_*" = "unsupported-instruction"
"uprobe:*:parse_*" = "unsupported-instruction"
[stages.store]
name = "memory"
"""


@attrs.frozen
class Sent:
    """What was sent to the stack: two runs, one of which failed, and what a script emits."""

    good: dict[str, Any]
    bad: Any
    emitted: str


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def sent(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """A good run, then a bad one; long enough for Prometheus to see both more than once."""
    cwd = tmp_path_factory.mktemp("sent")
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "1000"}
    (cwd / "good.toml").write_text(GOOD_DAY)
    (cwd / "bad.toml").write_text(BAD_DAY)
    good = ebpf_bot("run", "good.toml", "--for", "12s", "--json", cwd=cwd, **variables)
    assert (good.status, good.stderr) == (0, "")
    bad = ebpf_bot("run", "bad.toml", "--for", "30s", "--json", cwd=cwd, **variables)
    emitted = emit("emit_telemetry", stack.endpoint)
    assert emitted.returncode == 0, emitted.stderr
    return Sent(json.loads(good.stdout), bad, emitted.stdout)


def emit(script: str, endpoint: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts to its end."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{script}.py", *arguments],
        env=environment(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **variables),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
        cwd=Path(ROOT),
    )
