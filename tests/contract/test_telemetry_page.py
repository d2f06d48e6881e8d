"""The page on telemetry names exactly what telemetry/names.py names, in the same words."""

from __future__ import annotations

from ebpf_bot_core.telemetry import names

PAGE = "reference/telemetry.md"


def test_spans(page):
    assert page(PAGE).table("## Spans") == {name: [covers] for name, covers in names.SPANS.items()}


def test_events(page):
    assert page(PAGE).table("## Events") == {name: [f"`{span}`"] for name, span in names.EVENTS.items()}


def test_attributes(page):
    assert page(PAGE).table("## Attributes") == {name: [text] for name, text in names.ATTRIBUTES.items()}


def test_metrics(page):
    assert page(PAGE).table("## Metrics") == {
        metric.name: [
            metric.kind,
            f"`{metric.unit}`",
            ", ".join(f"`{name}`" for name in metric.attributes),
            metric.description,
        ]
        for metric in names.METRICS.values()
    }
