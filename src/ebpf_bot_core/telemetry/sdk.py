"""The OpenTelemetry SDK, set up to export by OTLP/gRPC. The only module that imports it: 0.4 s and 40 MB.

So it is imported where something will be exported, and nowhere else. Needs the extra `otlp`.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import attrs
from opentelemetry import _logs, metrics, trace
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from ebpf_bot_core.telemetry import names
from ebpf_bot_core.telemetry.delivery import Delivery
from ebpf_bot_core.telemetry.destination import Destination
from ebpf_bot_core.telemetry.instruments import core_version

__all__ = ["Export", "try_out"]

_log = logging.getLogger(__name__)

_HANG_UP_SECONDS: Final = 0.4
"""Of the time for closing, what is kept for ending exports that hang."""
_LOGGERS: Final = ("opentelemetry", "grpc")
_QUEUE: Final = 16_384
"""Spans, and log records, that wait while the collector is away; the oldest are dropped. Some 30 s of a busy run."""
_SDK_METRICS: Final = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"


class _SpanExporter(OTLPSpanExporter):
    def __init__(self, url: str, delivery: Delivery) -> None:
        super().__init__(endpoint=url, timeout=Destination.timeout("traces"), headers=Destination.headers())
        self._delivery = delivery

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._delivery.insist("traces", partial(super().export, spans))


class _MetricExporter(OTLPMetricExporter):
    def __init__(self, url: str, delivery: Delivery) -> None:
        super().__init__(endpoint=url, timeout=Destination.timeout("metrics"), headers=Destination.headers())
        self._delivery = delivery

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        return self._delivery.attempt(
            "metrics", partial(super().export, metrics_data, timeout_millis, **kwargs)
        )


class _LogExporter(OTLPLogExporter):
    def __init__(self, url: str, delivery: Delivery) -> None:
        super().__init__(endpoint=url, timeout=Destination.timeout("logs"), headers=Destination.headers())
        self._delivery = delivery

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return self._delivery.insist("logs", partial(super().export, batch))


class _ExportingHandler(LoggingHandler):
    """Exports records, except those of the exporters: exported, their complaints would make them complain again."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__(logger_provider=provider)
        self.addFilter(lambda record: record.name.partition(".")[0] not in _LOGGERS)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            own = copy.copy(record)
            # One lone surrogate in a message would cost the whole batch.
            own.msg = record.getMessage().encode("utf-8", "backslashreplace").decode("utf-8")
            own.args = None
            for already_from_context in names.LOG_ATTRIBUTES:
                own.__dict__.pop(already_from_context, None)
            super().emit(own)
        except Exception:  # noqa: BLE001 - as every handler does: who logs must not fail for it
            self.handleError(record)


class Export:
    """The export of the signals that a destination takes, for the rest of the process.

    Making one sets OpenTelemetry's global providers. They add no exit handlers, which would wait one after the other
    and without a bound: who makes one closes it.

    Raises:
        Exception: a variable says something that the SDK cannot read.

    Attributes:
        delivery: what became of it.
        log_handler: exports what it is given; None where logs are not to be exported.
    """

    def __init__(self, destination: Destination) -> None:
        self.delivery = Delivery()
        self.delivery.listen(*_LOGGERS)
        resource = _resource()
        # First everything that may find a malformed variable, then what cannot be taken back.
        self._exporters = {
            signal: _KINDS[signal].exporter(url, self.delivery) for signal, url in destination.urls.items()
        }
        self._providers = {
            signal: _KINDS[signal].provider(exporter, resource)
            for signal, exporter in self._exporters.items()
        }
        for signal, provider in self._providers.items():
            _KINDS[signal].install(provider)
        self.log_handler = _ExportingHandler(self._providers["logs"]) if "logs" in self._providers else None

    def close(self, seconds: float) -> None:
        """Flush all signals at the same time and end the export, after `seconds` at the latest.

        An interrupt (Ctrl-C) ends the flush early and is taken as nothing more: the run is over by then.
        """
        deadline = time.monotonic() + seconds
        self.delivery.hurry()
        flushing: dict[str, threading.Thread] = {}
        try:
            for signal, provider in self._providers.items():
                flushing[signal] = _in_background(provider.shutdown)
            _join(flushing.values(), deadline - _HANG_UP_SECONDS)
            reason = f"no answer within {seconds:g} s"
        except KeyboardInterrupt:
            deadline = time.monotonic() + _HANG_UP_SECONDS
            reason = "interrupted"
        late = [name for name in self._providers if name not in flushing or flushing[name].is_alive()]
        if late:
            self.delivery.give_up(late, reason)
            # Closing its channel brings a thread back that waits in gRPC; else it would still be in there, in C, while
            # the interpreter is torn down around it.
            hanging_up = [_in_background(self._exporters[signal].shutdown) for signal in late]
            with contextlib.suppress(KeyboardInterrupt):
                _join([*flushing.values(), *hanging_up], deadline)


def _tracing(exporter: _SpanExporter, resource: Resource) -> TracerProvider:
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    with _counting_what_is_dropped():
        queue = None if os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") else _QUEUE
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=queue))
    return provider


def _metering(exporter: _MetricExporter, resource: Resource) -> MeterProvider:
    reader = PeriodicExportingMetricReader(exporter)
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)


def _logging(exporter: _LogExporter, resource: Resource) -> LoggerProvider:
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    with _counting_what_is_dropped():
        queue = None if os.environ.get("OTEL_BLRP_MAX_QUEUE_SIZE") else _QUEUE
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=queue))
    return provider


@contextlib.contextmanager
def _counting_what_is_dropped() -> Iterator[None]:
    """Let the SDK's queues count what they drop (`otel.sdk.processor.span.processed`); only this variable can ask.

    It is gone afterwards, so that spans and exports are not counted too, and a covered command does not inherit it.
    """
    if _SDK_METRICS in os.environ:
        yield
        return
    os.environ[_SDK_METRICS] = "true"
    try:
        yield
    finally:
        del os.environ[_SDK_METRICS]


@attrs.frozen
class _Kind:
    """How one signal is set up.

    Attributes:
        nothing: the smallest thing that can be exported.
    """

    exporter: Callable[[str, Delivery], Any]
    provider: Callable[[Any, Resource], Any]
    install: Callable[[Any], None]
    nothing: object


_KINDS: Final = {
    "traces": _Kind(_SpanExporter, _tracing, trace.set_tracer_provider, ()),
    "metrics": _Kind(_MetricExporter, _metering, metrics.set_meter_provider, MetricsData(())),
    "logs": _Kind(_LogExporter, _logging, _logs.set_logger_provider, ()),
}


def try_out(destination: Destination) -> str:
    """Export nothing, once for each signal, and return why that failed, in a few words; empty if it did not.

    So it shows what a connection alone does not: whether TLS, credentials and the protocol are right.
    """
    delivery = Delivery()
    delivery.hurry()
    delivery.listen(*_LOGGERS)
    for signal, url in destination.urls.items():
        exporter = _KINDS[signal].exporter(url, delivery)
        exporter.export(_KINDS[signal].nothing)
        exporter.shutdown()
        if delivery.failed:
            return delivery.reason or "the collector refused it"
    return ""


def _resource() -> Resource:
    """Return who we are; what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say goes first."""
    ours = {
        "service.name": names.SERVICE_NAME,
        "service.version": core_version(),
        "host.name": socket.gethostname(),
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _in_background(work: Callable[[], object]) -> threading.Thread:
    def quietly() -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - a thread's exception would be printed, and nobody could do a thing
            _log.debug("telemetry could not be shut down cleanly", exc_info=True)

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    return thread


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
