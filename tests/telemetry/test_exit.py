"""A collector that is down, deaf or dumb: the run is as without it, ends in time, and says so once."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .otlp_receiver import LONGEST, OtlpReceiver, ebpf_bot, environment, refused_port, run, silent_port
from .slow_network import slow_network

RUN = run("main", "parse_cart", "refund_order", "strlen")
"""What comes of these is certain after the first step, so that two runs can be compared."""
MOST_SECONDS = 3.0
"""By which telemetry may delay the end of the process, after the report is out."""
SLACK = 3.0
"""For a machine that is busy; without any bound the SDK would take from 8 to 24 seconds."""


@contextlib.contextmanager
def _answering(answer):
    with OtlpReceiver(answer) as receiver:
        yield receiver.url


BAD = {
    "nobody listens": refused_port,
    "it accepts connections and says nothing": silent_port,
    "it takes calls and never answers": lambda: _answering("hang"),
    "it is unavailable": lambda: _answering("refuse"),
}


def report_of(ended):
    """Return what a run reported, without what differs from run to run."""
    report = json.loads(ended.stdout)
    verdicts = {row["probe"]: row["verdict"] for row in report["probes"]}
    return verdicts, report["totals"], report["ratio"], report["plan"], report["runs"][0]["exit_status"]


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """The same run with export switched off."""
    return ebpf_bot(*RUN, "--for", "500ms", cwd=tmp_path_factory.mktemp("without"), ENABLE_OTLP="false")


@pytest.mark.parametrize("bad", BAD)
def test_a_collector_that_takes_nothing(tmp_path, without, bad):
    with BAD[bad]() as url:
        ended = ebpf_bot(*RUN, "--for", "500ms", cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert ended.exit_seconds - without.exit_seconds < MOST_SECONDS + SLACK
    assert (ended.status, without.status, without.stderr) == (0, 0, "")
    assert report_of(ended) == report_of(without)
    (warning,) = ended.stderr.splitlines()
    assert warning.startswith("WARNING ebpf_bot_core.telemetry.otlp: telemetry was not delivered to ")
    assert url in warning
    assert "logs, metrics, traces" in warning
    assert "ENABLE_OTLP=false" in warning


def test_the_gate_and_the_command_still_decide_the_exit_status(tmp_path):
    with refused_port() as url:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        gate = ebpf_bot(*RUN, "--for", "100ms", "--fail-under", "100", cwd=tmp_path, **variables)
        command = ebpf_bot(*RUN, "--", "sh", "-c", "exit 7", cwd=tmp_path, **variables)
    assert (gate.status, command.status) == (1, 7)


def test_many_batches_that_fail_share_one_deadline(tmp_path):
    """Each batch would take its two seconds, one after the other."""
    with silent_port() as url:
        ended = ebpf_bot(
            *RUN,
            "--for",
            "1s",
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4",
        )
    assert ended.exit_seconds < MOST_SECONDS + SLACK
    assert len(ended.stderr.splitlines()) == 1


def test_a_longer_timeout_of_the_sdk_does_not_lengthen_it(tmp_path):
    with silent_port() as url:
        ended = ebpf_bot(
            *RUN,
            "--for",
            "100ms",
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_EXPORTER_OTLP_TIMEOUT="600",
        )
    assert ended.exit_seconds < MOST_SECONDS + SLACK
    (warning,) = ended.stderr.splitlines()
    assert "no answer within 3 s" in warning


def test_a_collector_that_comes_back_gets_the_rest(tmp_path):
    """What failed meanwhile is said to be missing, and only that."""
    with OtlpReceiver() as receiver, refused_port() as url:
        ended = ebpf_bot(
            *RUN,
            "--for",
            "100ms",
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=url,
        )
    assert receiver.spans
    (warning,) = ended.stderr.splitlines()
    assert f"telemetry was not all delivered to {url}: metrics: UNAVAILABLE" in warning


def test_ctrl_c_ends_the_wait_and_changes_nothing_else(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent, (tmp_path / "stderr").open("w+") as stderr:
        silent.settimeout(LONGEST)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ebpf-bot"), *RUN, "--for", "100ms"],
            cwd=tmp_path,
            env=environment(OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="600"),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # Whoever runs the tests in the background may ignore SIGINT, and what is ignored is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        report = ""
        while not report.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, "the report broke off"
            report += line
        # So short a run exports nothing before its end: who connects is flushing.
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        assert process.wait(LONGEST) == 0
        connection.close()
        process.stdout.close()
        stderr.seek(0)
        (warning,) = stderr.read().splitlines()
    assert "telemetry was not delivered" in warning
    assert "interrupted" in warning


# Stands for the default endpoint, which on some machine may be a real collector's.
AT = "import ebpf_bot_core.telemetry.destination as d; d._DEFAULT = {url!r}"
SAYS_WHETHER_THE_SDK_IS_THERE = "import atexit; atexit.register(lambda: sys.stderr.write(f\"SDK: {'opentelemetry.sdk' in sys.modules}\\n\"))"


def test_nobody_at_the_default_endpoint_is_nothing_to_speak_of(tmp_path, without):
    with refused_port() as url:
        code = f"{AT.format(url=url)}; {SAYS_WHETHER_THE_SDK_IS_THERE}"
        ended = ebpf_bot(*RUN, "--for", "100ms", cwd=tmp_path, code=code)
        asked = ebpf_bot(*RUN, "--for", "100ms", cwd=tmp_path, code=code, ENABLE_OTLP="true")
    assert (ended.status, ended.stderr) == (0, "SDK: False\n")
    assert ended.exit_seconds < without.exit_seconds + SLACK
    assert json.loads(ended.stdout)["runs"][0]["trace_id"] is None
    # Whoever asks for it hears of it.
    warning, sdk = asked.stderr.splitlines()
    assert url in warning
    assert sdk == "SDK: True"


def test_a_collector_at_the_default_endpoint_is_found(tmp_path):
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(*RUN, "--for", "100ms", cwd=tmp_path, code=AT.format(url=receiver.url))
    assert (ended.status, ended.stderr) == (0, "")
    assert receiver.spans


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
    ],
)
def test_a_variable_that_cannot_be_read_does_not_end_the_run(tmp_path, variable, value):
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            *RUN,
            "--for",
            "100ms",
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            **{variable: value},
        )
    assert ended.status == 0
    assert json.loads(ended.stdout)["totals"]["fired"] > 0
    (warning,) = ended.stderr.splitlines()
    assert "telemetry is not exported: " in warning
    assert value in warning or variable == "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    assert not receiver.requests


def test_a_slow_network_loses_nothing(tmp_path, without):
    with OtlpReceiver() as receiver, slow_network(receiver.port, 0.1) as url:
        ended = ebpf_bot(*RUN, "--for", "500ms", cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.exit_seconds - without.exit_seconds < MOST_SECONDS + SLACK
    steps = [span for span in receiver.spans if span.name == "unified_pipeline_decision"]
    assert len(steps) == json.loads(ended.stdout)["runs"][0]["steps"]
