"""The metrics that a pipeline leaves behind, by the names that a Prometheus knows; no collector is needed.

`python -m pytest -v tests/test_metrics_pipeline.py` is documented. tests/telemetry has every detail of them, and
tests/stack the way through a real collector into a real Prometheus.
"""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from ebpf_bot_core import UnifiedPipeline
from ebpf_bot_core.errors import EbpfBotError

STEPS = 5


class Metrics:
    """What a pipeline records in a reader of its own."""

    def __init__(self):
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def points(self, name):
        data = self._reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        (metric,) = [metric for metric in metrics if metric.name == name]
        return list(metric.data.data_points)


@pytest.fixture(autouse=True)
def no_collector(monkeypatch):
    monkeypatch.setenv("ENABLE_OTLP", "false")


@pytest.fixture
def metrics():
    """The metrics of a pipeline that made five steps on the built-in plan."""
    recorded = Metrics()
    with UnifiedPipeline(meter_provider=recorded.provider) as pipeline:
        for _ in range(STEPS):
            pipeline.collect_and_decide()
    return recorded


def test_each_decision_is_counted(metrics):
    assert sum(point.value for point in metrics.points("ebpf_bot_decisions_total")) == STEPS


def test_each_decision_is_timed_in_milliseconds(metrics):
    (point,) = metrics.points("ebpf_bot_decision_latency_ms")
    assert point.count == sum(point.bucket_counts) == STEPS
    assert 0 < point.min <= point.sum / STEPS <= point.max < 60_000


def test_errors_are_there_before_there_is_one(metrics):
    assert [point.value for point in metrics.points("ebpf_bot_errors_total")] == [0]


def test_an_error_is_counted_under_its_stage(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[plan]\nname = "breaks"\n[[expect]]\nprobes = ["uprobe:checkout:*"]\n'
        '[stages]\ninjector = { name = "simulated", fail_at = { receive = 1 } }\nstore = "memory"\n'
    )
    recorded = Metrics()
    with (
        UnifiedPipeline.from_plan(plan, meter_provider=recorded.provider) as pipeline,
        pytest.raises(EbpfBotError),
    ):
        pipeline.step()
    counted = {
        tuple(sorted(point.attributes.items())): point.value
        for point in recorded.points("ebpf_bot_errors_total")
    }
    assert counted[("ebpf_bot.stage", "receive_signal"), ("error.type", "BackendError")] == 1


def test_coverage_is_a_ratio_and_counts_by_verdict(metrics):
    (ratio,) = metrics.points("ebpf_bot_coverage_ratio")
    by_verdict: dict[str, int] = {}
    for point in metrics.points("ebpf_bot_probes"):
        verdict = point.attributes["ebpf_bot.verdict"]
        by_verdict[verdict] = by_verdict.get(verdict, 0) + point.value
    possible = sum(by_verdict.values()) - by_verdict["excluded"]
    assert ratio.value == by_verdict["fired"] / possible
    assert 0 < ratio.value <= 1
