"""One step as one trace, from the coverage map to the store; no collector is needed.

`python -m pytest -v tests/test_end_to_end_tracing.py` is documented. tests/telemetry has every detail of it, and
tests/stack the way through a real collector.
"""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ebpf_bot_core import UnifiedPipeline

STAGES = ["get_coverage", "decide_next_probe", "inject_probe", "receive_signal", "store_save_signal"]


@pytest.fixture(autouse=True)
def no_collector(monkeypatch):
    monkeypatch.setenv("ENABLE_OTLP", "false")


@pytest.fixture
def step(caplog):
    """The spans of the first step of the built-in plan, by name; what it decided; and its log records."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with caplog.at_level(logging.INFO), UnifiedPipeline(tracer_provider=provider) as pipeline:
        pipeline.start()
        exporter.clear()
        chosen = pipeline.collect_and_decide()
        spans = exporter.get_finished_spans()
    return {span.name: span for span in spans}, chosen, caplog.records


def test_the_stages_are_children_of_the_step(step):
    spans, _, _ = step
    root = spans["unified_pipeline_decision"]
    assert root.parent is None
    children = sorted((span for span in spans.values() if span is not root), key=lambda span: span.start_time)
    assert [span.name for span in children] == STAGES
    for span in children:
        assert span.parent.span_id == root.context.span_id
        assert span.context.trace_id == root.context.trace_id
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time


def test_what_was_decided_is_on_the_spans(step):
    spans, chosen, _ = step
    assert chosen
    assert spans["unified_pipeline_decision"].attributes["pipeline.next_probe"] == chosen
    assert spans["decide_next_probe"].attributes["orchestrator.chosen_probe"] == chosen
    assert spans["get_coverage"].attributes["coverage_bot.expected_count"] > 0


def test_the_events_tell_the_story(step):
    spans, _, _ = step
    events = {name: [event.name for event in span.events] for name, span in spans.items() if span.events}
    assert events == {
        "unified_pipeline_decision": ["coverage_received", "decision_made"],
        "get_coverage": ["fetching_coverage_map"],
        "decide_next_probe": ["probe_decided"],
    }


def test_a_log_record_of_the_step_names_its_span(step):
    spans, _, records = step
    context = spans["unified_pipeline_decision"].context
    (record,) = [record for record in records if record.getMessage().startswith("step 1: ")]
    assert (record.trace_id, record.span_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
