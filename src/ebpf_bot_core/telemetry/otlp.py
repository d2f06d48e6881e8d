"""Export by OTLP/gRPC for the command line: whether, for how long, and what the user hears of it.

An embedding system configures an SDK of its own and never comes here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from ebpf_bot_core.diagnosis import Diagnosis
from ebpf_bot_core.telemetry.destination import Destination, switched_off
from ebpf_bot_core.telemetry.logs import handling

if TYPE_CHECKING:
    from ebpf_bot_core.telemetry.delivery import Delivery
    from ebpf_bot_core.telemetry.sdk import Export

__all__ = ["diagnose", "exporting"]

_log = logging.getLogger(__name__)

_EXIT_SECONDS: Final = 3.0
"""Telemetry delays the exit of the process by at most this."""
_INSTALL: Final = "pip install 'ebpf-bot-core[otlp]'"


@contextmanager
def exporting() -> Iterator[None]:
    """Export traces, metrics and logs while the context is open; on leaving, flush for at most 3 seconds.

    Logs are exported from INFO on, or from DEBUG where the console shows that. Nothing is exported, and the SDK is not
    even imported, where `ENABLE_OTLP=false` says so, or where no endpoint was asked for and nobody listens at the
    default one. Where a global SDK is set up already (`opentelemetry-instrument` does that) that one is left to work.

    It raises nothing, whatever the environment says and whatever the collector does; a user who asked for telemetry
    that does not arrive gets one warning. Export can be had once in a process.
    """
    destination = Destination.from_environment()
    export = _begin(destination)
    if export is None:
        yield
        return
    try:
        with handling(export.log_handler, logging.INFO) if export.log_handler else nullcontext():
            yield
    finally:
        export.close(_EXIT_SECONDS)
        _tell(export.delivery, destination)


def _tell(delivery: Delivery, destination: Destination) -> None:
    """Warn, once and in one line, of what was not delivered."""
    lost = delivery.failed
    if delivery.unusable:
        _log.warning("telemetry is not exported: %s", delivery.unusable)
    elif lost:
        _log.warning(
            "telemetry was %s delivered to %s: %s: %s; %s",
            "not all" if delivery.is_partial else "not",
            destination.where(lost),
            ", ".join(lost),
            delivery.reason or "no reason was given",
            destination.hint,
        )


def _begin(destination: Destination) -> Export | None:
    """Return the export that has begun; None where there is to be none, or cannot be."""
    if switched_off() or not (destination.asked_for or destination.answers()):
        return None
    try:
        if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            return None
        _look_for_grpc()
        from ebpf_bot_core.telemetry.sdk import Export  # noqa: PLC0415 - its time is paid only to export

        return Export(destination)
    except ImportError as error:
        if destination.asked_for:
            _log.warning(
                "telemetry is not exported: the OpenTelemetry SDK is missing: %s; %s", error, _INSTALL
            )
    except Exception as error:  # noqa: BLE001 - a malformed variable must not end the run
        _log.warning("telemetry is not exported: %s: %s", type(error).__name__, error)
    return None


def _look_for_grpc() -> None:
    """Find the exporters without importing them, which is done later."""
    if find_spec("opentelemetry.exporter.otlp.proto.grpc") is None:
        raise ModuleNotFoundError("No module named 'opentelemetry.exporter.otlp.proto.grpc'")


def diagnose() -> Diagnosis:
    """Say whether telemetry would be exported, and where to; it tries."""
    subject = "OTLP export"
    destination = Destination.from_environment()
    off = switched_off()
    if off:
        return Diagnosis(subject, ok=True, found=f"switched off by {off}")
    try:
        _look_for_grpc()
        from ebpf_bot_core.telemetry.sdk import try_out  # noqa: PLC0415 - likewise
    except ImportError as error:
        return Diagnosis(subject, ok=False, found=f"the SDK is missing: {error}", remedy=_INSTALL)
    if not destination.asked_for and not destination.answers():
        return Diagnosis(
            subject, ok=False, found=f"nobody answers at {destination.where()}", remedy=destination.hint
        )
    try:
        trouble = try_out(destination)
    except Exception as error:  # noqa: BLE001 - a finding, like all others
        trouble = f"{type(error).__name__}: {error}"
    if trouble:
        return Diagnosis(
            subject, ok=False, found=f"{destination.where()}: {trouble}", remedy=destination.hint
        )
    return Diagnosis(subject, ok=True, found=f"{destination.where()} takes it")
