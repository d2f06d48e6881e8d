"""The SDK is an extra: nothing imports it before something is to be exported, and everything works without it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .otlp_receiver import OtlpReceiver, ebpf_bot, environment, run

RUN = (*run("*"), "--for", "100ms")

REFUSE_THE_SDK = """
class Refuses:
    def find_spec(self, name, path=None, target=None):
        parts = ('opentelemetry.sdk', 'opentelemetry.exporter', 'opentelemetry.instrumentation', 'grpc')
        if name.startswith(parts):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Refuses())
"""

REFUSED = f"exec({REFUSE_THE_SDK!r})"


def test_everything_works_without_it(tmp_path):
    ended = ebpf_bot(*RUN, cwd=tmp_path, code=REFUSED)
    assert (ended.status, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    assert report["runs"][0]["trace_id"] is None
    assert report["totals"]["fired"] > 0


def test_whoever_asked_for_export_hears_that_it_is_missing(tmp_path):
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(*RUN, cwd=tmp_path, code=REFUSED, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert ended.status == 0
    (warning,) = ended.stderr.splitlines()
    assert "the OpenTelemetry SDK is missing: No module named 'opentelemetry." in warning
    assert "pip install 'ebpf-bot-core[otlp]'" in warning
    assert json.loads(ended.stdout)["runs"][0]["trace_id"] is None


def test_whoever_did_not_ask_hears_nothing(tmp_path):
    """Not even where a collector happens to be at the default endpoint."""
    with OtlpReceiver() as receiver:
        found = f"import ebpf_bot_core.telemetry.destination as d; d._DEFAULT = {receiver.url!r}"
        ended = ebpf_bot(*RUN, cwd=tmp_path, code=f"{REFUSED}; {found}")
    assert (ended.status, ended.stderr) == (0, "")


def test_the_doctor_says_so(tmp_path):
    ended = ebpf_bot("doctor", "--json", cwd=tmp_path, code=REFUSED)
    (check,) = [check for check in json.loads(ended.stdout)["checks"] if check["subject"] == "OTLP export"]
    assert check["found"].startswith("the SDK is missing: ")
    assert check["remedy"] == "pip install 'ebpf-bot-core[otlp]'"
    assert not check["ok"]
    assert not check["needed"]


@pytest.mark.parametrize(
    "module",
    [
        "ebpf_bot_core.pipeline",
        "ebpf_bot_core.telemetry.otlp",
        "ebpf_bot_core.telemetry.stages",
        "ebpf_bot_core.telemetry.delivery",
        "ebpf_bot_core.cli.covering",
    ],
)
def test_importing_a_module_imports_no_sdk(module):
    heavy = (
        "('opentelemetry.sdk', 'opentelemetry.exporter', 'opentelemetry.proto', 'grpc', 'google.protobuf')"
    )
    script = f"import sys, {module}; print([name for name in sys.modules if name.startswith({heavy})])"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout == "[]\n"


def test_names_need_neither_numpy_nor_opentelemetry():
    script = "import sys, ebpf_bot_core.telemetry.names; print({'numpy', 'opentelemetry'} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout == "set()\n"


def test_an_sdk_that_somebody_has_set_up_is_used_as_it_is(tmp_path):
    """As `opentelemetry-instrument ebpf-bot run` does: one more SDK beside it would be refused, and be in the way."""
    theirs = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.name + chr(10))))
trace.set_tracer_provider(provider)
"""
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            *RUN, cwd=tmp_path, code=f"exec('''{theirs}''')", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url
        )
    assert ended.status == 0
    assert not receiver.requests
    assert "unified_pipeline_decision" in ended.stderr.splitlines()
    assert "telemetry" not in ended.stderr
    assert json.loads(ended.stdout)["runs"][0]["trace_id"]
