"""The scripts that send, and that ask the stack: what they say is so, and their exit status means it."""

from __future__ import annotations

import re
import subprocess
import sys

from ebpf_bot_core.telemetry import names

from ..telemetry.otlp_receiver import environment, refused_port
from .conftest import emit
from .programs import ROOT, eventually


def test_a_step_is_sent_and_arrives(stack):
    done = emit("emit_trace", stack.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"accepted by {stack.endpoint}: traces, metrics, logs" in done.stdout
    printed = re.findall(r"^ +(\w+)$", done.stdout, re.MULTILINE)
    traces = re.findall(r"^trace ([0-9a-f]{32})$", done.stdout, re.MULTILINE)
    arrived = eventually(
        lambda: (
            [span["name"] for trace in traces for span in stack.trace(trace)]
            if all(map(stack.trace, traces))
            else []
        )
    )
    assert sorted(arrived) == sorted(printed)
    assert names.STEP in printed


def test_what_is_not_accepted_is_said():
    with refused_port() as url:
        for script in ("emit_trace", "emit_telemetry"):
            done = emit(script, url)
            assert done.returncode == 1
            assert f"not accepted by {url}: traces, metrics, logs: UNAVAILABLE" in done.stderr
            assert "\naccepted" not in done.stdout


def test_what_is_switched_off_is_said(stack):
    done = emit("emit_trace", stack.endpoint, ENABLE_OTLP="false")
    assert done.returncode == 1
    assert "switched off by ENABLE_OTLP=false" in done.stderr


def smoke(stack, **addresses):
    words = [f"--{name}={address}" for name, address in addresses.items()]
    return subprocess.run(
        [
            sys.executable,
            ROOT / "scripts" / "stack_smoke.py",
            f"--endpoint={stack.endpoint}",
            f"--health={stack.health_url}",
            f"--logs={stack.logs}",
            "--grafana=none",
            *words,
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_smoke_finds_what_it_sent(stack):
    done = smoke(stack, jaeger="none", prometheus=stack.prometheus_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "prometheus: all there" in done.stdout
    assert "logs: all there" in done.stdout


def test_smoke_fails_where_something_does_not_answer(stack):
    with refused_port() as url:
        done = smoke(stack, jaeger=url, prometheus=url, seconds=1)
        assert done.returncode == 1
        assert "jaeger: URLError" in done.stdout
        nobody = smoke(stack, health=url, seconds=1)
    assert nobody.returncode == 1
    assert "is the stack up?" in nobody.stderr
