"""Export by OTLP/gRPC for the command line: the only place that knows the SDK (extra `otlp`).

An embedding system configures an SDK of its own and never comes here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import attrs

from ebpf_bot_core.diagnosis import Diagnosis
from ebpf_bot_core.telemetry import names

__all__ = ["diagnose", "exporting"]

_log = logging.getLogger(__name__)

_DEFAULT_ENDPOINT: Final = "http://localhost:4317"
_EXIT_SECONDS: Final = 3.0
"""Telemetry delays the exit of the process by at most this."""
_TIMEOUT_SECONDS: Final = "2"
"""For one export, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise: its default of 10 would break the promise."""
_PROBE_SECONDS: Final = 0.2


@attrs.frozen
class _Endpoint:
    """Where telemetry goes.

    Attributes:
        asked_for: whether somebody set it, rather than it being the default.
    """

    url: str
    asked_for: bool

    @classmethod
    def from_environment(cls) -> _Endpoint:
        url = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
        return cls(url or _DEFAULT_ENDPOINT, bool(url))

    def answers(self) -> bool:
        """Whether anybody accepts connections there."""
        parts = urlsplit(self.url if "//" in self.url else f"//{self.url}")
        try:
            with socket.create_connection(
                (parts.hostname or "localhost", parts.port or 4317), _PROBE_SECONDS
            ):
                return True
        except (OSError, ValueError):
            return False


def _switched_off() -> str:
    """Return what switches export off, in words; empty if nothing does."""
    if os.environ.get("ENABLE_OTLP", "true").strip().lower() in ("false", "0", "no", "off"):
        return "ENABLE_OTLP=false"
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "OTEL_SDK_DISABLED=true"
    return ""


def _sdk_installed() -> bool:
    try:
        return importlib.util.find_spec(
            "opentelemetry.exporter.otlp.proto.grpc.exporter"
        ) is not None or bool(importlib.util.find_spec("opentelemetry.exporter.otlp.proto.grpc"))
    except ModuleNotFoundError:
        return False


@contextmanager
def exporting() -> Iterator[None]:
    """Export traces, metrics and logs while the context is open; on leaving, flush for at most 3 seconds.

    Nothing is exported, and the SDK is not even imported, where `ENABLE_OTLP=false` says so, where the extra `otlp`
    is not installed, or where no endpoint was asked for and nobody listens at the default one.
    """
    endpoint = _Endpoint.from_environment()
    if _switched_off() or not _sdk_installed() or not (endpoint.asked_for or endpoint.answers()):
        yield
        return
    shutdowns = _configure()
    try:
        yield
    finally:
        _shut_down(shutdowns, endpoint)


def _configure() -> list[Callable[[], object]]:
    """Set the global providers up and return what shuts them down."""
    from opentelemetry import _logs, metrics, trace  # noqa: PLC0415 - 0.4 s, paid only where it is exported
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.instrumentation.logging.handler import LoggingHandler  # noqa: PLC0415
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", _TIMEOUT_SECONDS)
    os.environ.setdefault("OTEL_SERVICE_NAME", names.SERVICE_NAME)
    resource = Resource.create()
    # The SDK's own exit handlers would wait one after the other, without a bound: _shut_down does it instead.
    tracing = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    metering = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter())], resource=resource, shutdown_on_exit=False
    )
    logging_ = LoggerProvider(resource=resource, shutdown_on_exit=False)
    logging_.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(metering)
    _logs.set_logger_provider(logging_)
    handler = LoggingHandler(level=logging.NOTSET, logger_provider=logging_)
    # The exporter's own complaints, exported, would make it complain again.
    handler.addFilter(lambda record: not record.name.startswith("opentelemetry"))
    logging.getLogger().addHandler(handler)
    for chatty in ("opentelemetry.exporter", "opentelemetry.sdk"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)

    def stop_logging() -> None:
        logging.getLogger().removeHandler(handler)
        logging_.shutdown()

    return [tracing.shutdown, metering.shutdown, stop_logging]


def _shut_down(shutdowns: list[Callable[[], object]], endpoint: _Endpoint) -> None:
    """Flush all signals at once, and give up in time."""
    if not endpoint.answers():
        _log.warning("telemetry was not delivered: nobody answers at %s", endpoint.url)
        return
    threads = [threading.Thread(target=shutdown, daemon=True) for shutdown in shutdowns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_EXIT_SECONDS / len(threads))
    if any(thread.is_alive() for thread in threads):
        _log.warning("telemetry was not all delivered to %s within %g s", endpoint.url, _EXIT_SECONDS)


def diagnose() -> Diagnosis:
    """Say whether telemetry would be exported, and where to."""
    endpoint = _Endpoint.from_environment()
    off = _switched_off()
    if off:
        return Diagnosis("OTLP export", ok=True, found=f"switched off by {off}")
    if not _sdk_installed():
        return Diagnosis(
            "OTLP export", ok=False, found="SDK not installed", remedy="pip install 'ebpf-bot-core[otlp]'"
        )
    if endpoint.answers():
        return Diagnosis("OTLP export", ok=True, found=f"{endpoint.url} accepts connections")
    return Diagnosis(
        "OTLP export",
        ok=False,
        found=f"nobody answers at {endpoint.url}",
        remedy="start a collector, set OTEL_EXPORTER_OTLP_ENDPOINT, or switch it off with ENABLE_OTLP=false",
    )
