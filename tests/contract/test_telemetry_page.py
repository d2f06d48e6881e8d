"""The page on telemetry names exactly what telemetry/names.py names, in the same words.

That nothing else is emitted is tested under tests/telemetry.
"""

from __future__ import annotations

from ebpf_bot_core.telemetry import names

PAGE = "reference/telemetry.md"


def listed(some):
    return ", ".join(f"`{name}`" for name in some)


def test_spans(page):
    assert page(PAGE).table("## Spans") == {name: [covers] for name, covers in names.SPANS.items()}


def test_events(page):
    assert page(PAGE).table("## Events") == {
        name: [f"`{span}`", listed(names.EVENT_ATTRIBUTES[name])] for name, span in names.EVENTS.items()
    }


def test_attributes(page):
    assert page(PAGE).table("## Attributes") == {name: [text] for name, text in names.ATTRIBUTES.items()}


def test_attributes_of_each_span(page):
    assert page(PAGE).table("### Which span has which") == {
        name: [listed(attributes)] for name, attributes in names.SPAN_ATTRIBUTES.items()
    }


def test_metrics(page):
    assert page(PAGE).table("## Metrics") == {
        metric.name: [metric.kind, f"`{metric.unit}`", listed(metric.attributes), metric.description]
        for metric in names.METRICS.values()
    }


def test_buckets(page):
    buckets = ", ".join(f"{bound:g}" for bound in names.LATENCY_BOUNDARIES_MS)
    assert f"Buckets of `{names.DECISION_LATENCY.name}`: {buckets}" in " ".join(page(PAGE).text.split())


def test_log_records(page):
    assert page(PAGE).table("## Logs") == {name: [text] for name, text in names.LOG_ATTRIBUTES.items()}


def test_who_we_are(page):
    assert f"`{names.SERVICE_NAME}`" in page(PAGE).text
    assert f"`{names.SCOPE}`" in page(PAGE).text
