"""A collector that is away for a while: what was meant for it waits, and nothing of it is lost once it is back."""

from __future__ import annotations

import json
import threading
import time

import pytest

from ebpf_bot_core.telemetry import names

from ..telemetry.otlp_receiver import OtlpReceiver, ebpf_bot, plain, run
from . import local_stack
from .programs import eventually, get

RUN = (*run("main", "parse_cart", "refund_order", "strlen"), "--for", "15s")


class Meanwhile(threading.Thread):
    """A run that goes on while its collector comes and goes."""

    def __init__(self, cwd, endpoint):
        super().__init__()
        self._cwd, self._endpoint = cwd, endpoint
        self.start()

    def run(self):
        self._ended = ebpf_bot(*RUN, cwd=self._cwd, OTEL_EXPORTER_OTLP_ENDPOINT=self._endpoint)

    @property
    def ended(self):
        self.join()
        return self._ended


def test_a_collector_that_restarts_gets_every_span(tmp_path):
    with local_stack.LocalStack(tmp_path) as stack:
        running = Meanwhile(tmp_path, stack.endpoint)
        eventually(stack.spans)
        lines = len(eventually(stack.log_records))
        stack.collector.__exit__()
        time.sleep(4)
        stack.collector.__enter__()
        ended = running.ended
        assert (ended.status, ended.stderr) == (0, "")
        steps = json.loads(ended.stdout)["runs"][0]["steps"]

        def arrived():
            spans = [span for span in stack.spans() if span["name"] == names.STEP]
            return sorted(local_stack.plain(span["attributes"])[names.STEP_NUMBER] for span in spans)

        eventually(lambda: len(arrived()) >= steps)
        assert arrived() == list(range(1, steps + 1))
        # Restarted, the collector goes on writing to the file that it had.
        assert len(stack.log_records()) >= lines


def test_a_collector_that_is_unavailable_and_then_up_gets_every_span(tmp_path):
    with OtlpReceiver("refuse") as receiver:
        running = Meanwhile(tmp_path, receiver.url)
        time.sleep(8)
        receiver._answer = "take"
        ended = running.ended
    assert (ended.status, ended.stderr) == (0, "")
    steps = json.loads(ended.stdout)["runs"][0]["steps"]
    spans = [span for span in receiver.spans if span.name == names.STEP]
    assert sorted(plain(span.attributes)[names.STEP_NUMBER] for span in spans) == list(range(1, steps + 1))


BURST = """
import resource
from opentelemetry import metrics, trace
from ebpf_bot_core.telemetry.otlp import exporting
with exporting():
    tracer = trace.get_tracer("burst")
    tracer.start_span("first").end()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(100_000):
        tracer.start_span("one of many", attributes={"number": number}).end()
    metrics.get_meter_provider().force_flush()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
raise SystemExit
"""


@pytest.mark.parametrize("is_there", [True, False], ids=["collector", "no collector"])
def test_a_burst_takes_bounded_memory_and_what_is_dropped_is_counted(stack, tmp_path, is_there):
    """Of 100,000 spans at once: those that are not dropped arrive, and a metric says how many were."""
    url = "http://127.0.0.1:1"
    variables = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": stack.endpoint if is_there else url,
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": stack.endpoint,
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id=burst-{is_there}",
    }
    ended = ebpf_bot(cwd=tmp_path, code=f"exec({BURST!r})", **variables)
    assert ended.status == 0, ended.stderr
    assert int(ended.stdout) < 150 * 1024

    dropped = 0
    for line in get(stack.metrics_url).splitlines():
        if (
            line.startswith("otel_sdk_processor_span_processed{")
            and f"burst-{is_there}" in line
            and "queue_full" in line
        ):
            dropped = float(line.rsplit(" ", 1)[1])
    if is_there:
        arrived = eventually(
            lambda: sum(span["name"] == "one of many" for span in stack.spans()) >= 100_000 - dropped
        )
        assert arrived
    else:
        assert dropped >= 100_000 - 16_384 - 512
        assert "telemetry was not all delivered" in ended.stderr
