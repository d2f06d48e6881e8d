"""What a pipeline emits is what telemetry/names.py names: every span, event, attribute and metric of it."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ebpf_bot_core import BackendError, Plan, UnifiedPipeline
from ebpf_bot_core.telemetry import names

PLAN = """
[plan]
name = "telemetry"
[[expect]]
probes = ["uprobe:/usr/bin/checkout:*"]
[stages]
injector = { name = "simulated", wait = false, lose = 0.2, fail_at = { receive = 4 } }
store = "memory"
"""
ONLY_WHERE_ESTIMATED = {names.OVERHEAD_RATIO.name}


class Idle:
    def process(self, batch):
        return batch


@pytest.fixture(scope="module")
def emitted():
    """Run three steps, one that fails, and read the evidence back; return spans and metric points by name."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing, metering = TracerProvider(), MeterProvider([reader])
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    pipeline = UnifiedPipeline(
        Plan.parse(PLAN, where="test"),
        processors=[Idle()],
        keep=True,
        tracer_provider=tracing,
        meter_provider=metering,
    )
    for _ in range(3):
        pipeline.step()
    with pytest.raises(BackendError):
        pipeline.step()
    store, run = pipeline._stages.store, pipeline.record
    store.evidence(run.id)
    list(store.signals(run.id))
    pipeline.close()
    data = reader.get_metrics_data()
    points = {
        metric.name: (metric, list(metric.data.data_points))
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
    }
    return spans.get_finished_spans(), points


def test_spans(emitted):
    assert {span.name for span in emitted[0]} == set(names.SPANS)


def test_spans_of_a_step_are_its_children(emitted):
    by_id = {span.context.span_id: span for span in emitted[0]}
    for span in emitted[0]:
        if span.name in (names.GET_COVERAGE, names.DECIDE, names.INJECT, names.RECEIVE, names.PROCESS):
            assert span.parent is not None
            assert by_id[span.parent.span_id].name == names.STEP


def test_events(emitted):
    seen = {event.name: span.name for span in emitted[0] for event in span.events}
    assert seen == names.EVENTS


def test_attributes(emitted):
    on_spans = {key for span in emitted[0] for key in span.attributes}
    on_events = {key for span in emitted[0] for event in span.events for key in event.attributes or {}}
    on_points = {key for _, points in emitted[1].values() for point in points for key in point.attributes}
    assert on_spans | on_events | on_points == set(names.ATTRIBUTES)


def test_the_attributes_of_the_page_on_each_span(emitted, page):
    documented = {
        span: {word.strip(" `") for word in cells[0].split(",")}
        for span, cells in page("reference/telemetry.md").table("### Which span has which").items()
    }
    seen = {}
    for span in emitted[0]:
        seen.setdefault(span.name, set()).update(span.attributes.keys() - {names.ERROR_TYPE})
    assert documented == seen


def test_metrics(emitted):
    assert set(emitted[1]) == set(names.METRICS) - ONLY_WHERE_ESTIMATED
    for name, (metric, points) in emitted[1].items():
        assert (metric.unit, metric.description) == (
            names.METRICS[name].unit,
            names.METRICS[name].description,
        )
        for point in points:
            assert set(point.attributes) <= set(names.METRICS[name].attributes)


def test_an_error_is_counted_and_marks_its_span(emitted):
    (point,) = (point for point in emitted[1][names.ERRORS.name][1] if point.attributes)
    assert dict(point.attributes) == {names.ERROR_TYPE: "BackendError", names.STAGE: names.RECEIVE}
    failed = {span.name for span in emitted[0] if not span.status.is_ok and span.status.description}
    assert failed == {names.RECEIVE, names.STEP}


def test_samples_and_totals_stay_small(emitted):
    for span in emitted[0]:
        for value in span.attributes.values():
            assert isinstance(value, str | int | bool) or len(value) <= 10
        if names.COVERAGE_MAP in span.attributes:
            assert sum(json.loads(span.attributes[names.COVERAGE_MAP]).values()) == 10
