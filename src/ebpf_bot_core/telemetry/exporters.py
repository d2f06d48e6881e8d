"""The way out of each signal: exporters by OTLP/gRPC that are made when something is there to be sent.

gRPC and the messages take as long to import as the rest of the SDK. What is recorded meanwhile waits in the SDK's queues.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ebpf_bot_core.telemetry.delivery import Delivery, R
from ebpf_bot_core.telemetry.destination import Destination

__all__ = ["LogLine", "MetricLine", "SpanLine"]

_EXPORTERS: Final = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}
_ONE_AT_A_TIME: Final = threading.Lock()
_SHAPE_OF_METRICS: Final = (
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
)


class _Line:
    """What the three have in common: an exporter that the first who wants it makes, in whatever thread."""

    def __init__(self, signal: str, url: str, delivery: Delivery) -> None:
        self._signal = signal
        self._url = url
        self._delivery = delivery
        self._exporter: Any = None

    def open(self) -> Any:
        """Return the exporter; the first call in a process takes 50 ms.

        Raises:
            Exception: a variable says something that the exporter cannot read.
        """
        with _ONE_AT_A_TIME:
            if self._exporter is None:
                self._exporter = _exporter(self._signal, self._url)
            return self._exporter

    def _send(self, how: Callable[[str, Callable[[], R]], R], failed: R, *batch: Any, **more: Any) -> R:
        """Send a batch in the way that `how` says; `failed` where there is no exporter, and why is noted."""
        try:
            exporter = self.open()
        except Exception as error:  # noqa: BLE001 - a variable that cannot be read must not end the run
            self._delivery.cannot_begin(self._signal, error)
            return failed
        return how(self._signal, lambda: exporter.export(*batch, **more))

    def hang_up(self) -> None:
        """End an export that is under way."""
        if self._exporter is not None:
            self._exporter.shutdown()


class SpanLine(_Line, SpanExporter):
    """Where spans go."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them, again and again while nobody takes them."""
        return self._send(self._delivery.insist, SpanExportResult.FAILURE, spans)

    def shutdown(self) -> None:
        """Close the connection."""
        self.hang_up()


class LogLine(_Line, LogRecordExporter):
    """Where log records go."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Send them, again and again while nobody takes them."""
        return self._send(self._delivery.insist, LogRecordExportResult.FAILURE, batch)

    def force_flush(self, timeout_millis: int = 10_000) -> bool:  # noqa: ARG002
        """Nothing is kept here."""
        return True

    def shutdown(self) -> None:
        """Close the connection."""
        self.hang_up()


class MetricLine(_Line, MetricExporter):
    """Where metrics go."""

    def __init__(self, signal: str, url: str, delivery: Delivery) -> None:
        _Line.__init__(self, signal, url, delivery)
        # How numbers are gathered is decided before the first, and only the exporter can read what these variables say.
        shape = self.open() if any(map(os.environ.get, _SHAPE_OF_METRICS)) else None
        MetricExporter.__init__(
            self,
            preferred_temporality=shape and shape._preferred_temporality,  # noqa: SLF001 - as the SDK's reader does
            preferred_aggregation=shape and shape._preferred_aggregation,  # noqa: SLF001
        )

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send them once: the next ones say the same and more."""
        failed = MetricExportResult.FAILURE
        return self._send(self._delivery.attempt, failed, metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Nothing is kept here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:  # noqa: ARG002
        """Close the connection."""
        self.hang_up()


def _exporter(signal: str, url: str) -> Any:
    module, kind = _EXPORTERS[signal]
    headers = Destination.headers()
    with _quiet_grpc():
        exporters = import_module(f"opentelemetry.exporter.otlp.proto.grpc.{module}")
    return getattr(exporters, kind)(endpoint=url, timeout=Destination.timeout(signal), headers=headers)


@contextlib.contextmanager
def _quiet_grpc() -> Iterator[None]:
    """Keep gRPC's C core from writing to stderr: it reads the variable once, when it is first imported.

    Only C sees the variable, and it is gone afterwards: a command that is started meanwhile does not inherit it.
    """
    if "GRPC_VERBOSITY" in os.environ or logging.getLogger().isEnabledFor(logging.DEBUG):
        yield
        return
    os.putenv("GRPC_VERBOSITY", "NONE")
    try:
        yield
    finally:
        os.unsetenv("GRPC_VERBOSITY")
