"""Records the telemetry of a pipeline in this process, with the real SDK and nothing behind it; and a plan to run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ebpf_bot_core import Plan, StageChoice, Stages
from ebpf_bot_core.telemetry.instruments import Instruments


def simulated_plan(*patterns: str, **options: Any) -> Plan:
    """Return a plan on the simulated host, whose options are given; what it finds is kept in memory."""
    stages = Stages(injector=StageChoice("simulated", options), store=StageChoice("memory"))
    return attrs.evolve(Plan.of(patterns), stages=stages)


class Recorder:
    """Two providers to give to a pipeline, and what has come in by them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def providers(self) -> dict[str, Any]:
        """What `UnifiedPipeline` takes."""
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def instruments(self) -> Instruments:
        """Return instruments of their own that record here."""
        return Instruments(self.tracer_provider, self.meter_provider)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Return the ended spans in the order in which they began, all or those of a name."""
        spans = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)
        return [span for span in spans if name in ("", span.name)]

    def only(self, name: str) -> ReadableSpan:
        """Return the one span of a name."""
        (span,) = self.spans(name)
        return span

    def children(self, parent: ReadableSpan) -> list[str]:
        """Return the names of the spans right below one, in the order in which they began."""
        return [
            span.name
            for span in self.spans()
            if span.parent and span.parent.span_id == parent.context.span_id
        ]

    def metrics(self) -> dict[str, Metric]:
        """Return all metrics by name, as a reader of metrics sees them now."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def values(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return a counter's or gauge's values: attributes, sorted, to value."""
        return {_sorted(point.attributes): point.value for point in self.metrics()[name].data.data_points}


def _sorted(attributes: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((attributes or {}).items()))
