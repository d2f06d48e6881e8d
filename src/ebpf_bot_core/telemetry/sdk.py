"""The OpenTelemetry SDK, set up to export by OTLP/gRPC. Imported where something will be exported, and nowhere else.

The SDK is there before the first span; gRPC, which takes longer, comes while the run is under way (`exporters.py`).
Needs the extra `otlp`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import attrs
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ebpf_bot_core.telemetry import names
from ebpf_bot_core.telemetry.delivery import Delivery
from ebpf_bot_core.telemetry.destination import Destination
from ebpf_bot_core.telemetry.exporters import LogLine, MetricLine, SpanLine
from ebpf_bot_core.telemetry.instruments import core_version
from ebpf_bot_core.telemetry.log_handler import ExportingHandler

__all__ = ["Export", "try_out"]

_log = logging.getLogger(__name__)

_OPEN_AFTER_SECONDS: Final = 0.5
"""When gRPC is imported: attaching, which would have to share the interpreter with it, is mostly over by then."""
_HANG_UP_SECONDS: Final = 0.4
"""Of the time for closing, what is kept for ending exports that hang."""
_HEAD_START_SECONDS: Final = 0.1
"""At the end metrics wait so long for spans and log records, which they count."""
_LOGGERS: Final = ("opentelemetry", "grpc")
_QUEUE: Final = 16_384
"""Spans, and log records, that wait while the collector is away; the oldest are dropped. Some 30 s of a busy run."""
_SDK_METRICS: Final = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"


class Export:
    """The export of the signals that a destination takes, for the rest of the process.

    Making one sets OpenTelemetry's global providers. They add no exit handlers, which would wait one after the other
    and without a bound: who makes one closes it.

    Raises:
        Exception: a variable says something that the SDK cannot read. What the exporters cannot read is found later,
            and noted in `delivery`.

    Attributes:
        delivery: what became of it.
        log_handler: exports what it is given; None where logs are not to be exported.
    """

    def __init__(self, destination: Destination) -> None:
        self.delivery = Delivery()
        self.delivery.listen(*_LOGGERS)
        resource = _resource()
        # First everything that may find a malformed variable, then what cannot be taken back.
        self._lines = {
            signal: _KINDS[signal].line(signal, url, self.delivery)
            for signal, url in destination.urls.items()
        }
        self._providers = {
            signal: _KINDS[signal].provider(line, resource) for signal, line in self._lines.items()
        }
        for signal, provider in self._providers.items():
            _KINDS[signal].install(provider)
        self.log_handler = (
            ExportingHandler(self._providers["logs"], without=_LOGGERS) if "logs" in self._providers else None
        )
        self._opening = threading.Timer(_OPEN_AFTER_SECONDS, partial(_quietly, self.open))
        self._opening.daemon = True
        self._opening.start()

    def open(self) -> None:
        """Make the exporters, unless they are made; nothing is sent yet. Who does not call it has it done in time.

        Raises:
            Exception: a variable says something that an exporter cannot read.
        """
        for line in self._lines.values():
            line.open()

    def close(self, seconds: float) -> None:
        """Flush all signals at the same time and end the export, after `seconds` at the latest.

        An interrupt (Ctrl-C) ends the flush early and is taken as nothing more: the run is over by then.
        """
        deadline = time.monotonic() + seconds
        self._opening.cancel()
        self.delivery.hurry()
        flushing: dict[str, threading.Thread] = {}
        try:
            for signal in sorted(self._providers, key="metrics".__eq__):
                if signal == "metrics":
                    _join(flushing.values(), time.monotonic() + _HEAD_START_SECONDS)
                flushing[signal] = _in_background(self._providers[signal].shutdown)
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
            hanging_up = [_in_background(self._lines[signal].hang_up) for signal in late]
            with contextlib.suppress(KeyboardInterrupt):
                _join([*flushing.values(), *hanging_up], deadline)


def _tracing(line: SpanLine, resource: Resource) -> TracerProvider:
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    with _counting_what_is_dropped():
        queue = None if os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") else _QUEUE
        provider.add_span_processor(BatchSpanProcessor(line, max_queue_size=queue))
    return provider


def _metering(line: MetricLine, resource: Resource) -> MeterProvider:
    reader = PeriodicExportingMetricReader(line)
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)


def _logging(line: LogLine, resource: Resource) -> LoggerProvider:
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    with _counting_what_is_dropped():
        queue = None if os.environ.get("OTEL_BLRP_MAX_QUEUE_SIZE") else _QUEUE
        provider.add_log_record_processor(BatchLogRecordProcessor(line, max_queue_size=queue))
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

    line: Callable[[str, str, Delivery], Any]
    provider: Callable[[Any, Resource], Any]
    install: Callable[[Any], None]
    nothing: object


_KINDS: Final = {
    "traces": _Kind(SpanLine, _tracing, trace.set_tracer_provider, ()),
    "metrics": _Kind(MetricLine, _metering, metrics.set_meter_provider, MetricsData(())),
    "logs": _Kind(LogLine, _logging, _logs.set_logger_provider, ()),
}


def try_out(destination: Destination) -> str:
    """Export nothing, once for each signal, and return why that failed, in a few words; empty if it did not.

    So it shows what a connection alone does not: whether TLS, credentials and the protocol are right.
    """
    delivery = Delivery()
    delivery.hurry()
    delivery.listen(*_LOGGERS)
    for signal, url in destination.urls.items():
        line = _KINDS[signal].line(signal, url, delivery)
        line.open()
        line.export(_KINDS[signal].nothing)
        line.shutdown()
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
    thread = threading.Thread(target=_quietly, args=(work,), daemon=True)
    thread.start()
    return thread


def _quietly(work: Callable[[], object]) -> None:
    """Work in a thread, whose exception would be printed, and nobody could do a thing."""
    try:
        work()
    except Exception:  # noqa: BLE001 - likewise
        _log.debug("a thread of the telemetry failed", exc_info=True)


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
