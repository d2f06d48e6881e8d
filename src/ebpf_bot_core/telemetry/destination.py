"""Destination: where telemetry goes, as the standard variables say. Reads the environment and imports no SDK."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

__all__ = ["SIGNALS", "Destination", "switched_off"]

SIGNALS: Final = ("traces", "metrics", "logs")

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_ENDPOINTS: Final = {
    "traces": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "metrics": "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "logs": "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
}
_TIMEOUT: Final = "OTEL_EXPORTER_OTLP_TIMEOUT"
_TIMEOUTS: Final = {
    "traces": "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "metrics": "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "logs": "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
}
_EXPORTERS: Final = {
    "traces": "OTEL_TRACES_EXPORTER",
    "metrics": "OTEL_METRICS_EXPORTER",
    "logs": "OTEL_LOGS_EXPORTER",
}
_DEFAULT: Final = "http://localhost:4317"
_DEFAULT_PORT: Final = 4317
_CONNECT_SECONDS: Final = 0.2
_EXPORT_SECONDS: Final = 2.0
"""For one export, where no variable says otherwise: the SDK's 10 would leave no time to say that it failed."""


@attrs.frozen
class Destination:
    """Where telemetry goes.

    Attributes:
        urls: the endpoint of each signal that is to be exported; those left out are not.
        asked_for: whether somebody asked for export; else a collector at the default endpoint gets it, if there is
            one.
    """

    urls: Mapping[str, str]
    asked_for: bool

    @classmethod
    def from_environment(cls) -> Destination:
        """Read the endpoints, which signals are wanted, and whether `ENABLE_OTLP` says so in so many words."""
        given = {signal: _value(_ENDPOINTS[signal]) or _value(_ENDPOINT) for signal in SIGNALS}
        return cls(
            {signal: url or _DEFAULT for signal, url in given.items() if _is_wanted(signal)},
            any(given.values()) or _word("ENABLE_OTLP") in ("true", "1", "yes", "on"),
        )

    def where(self, signals: Iterable[str] = ()) -> str:
        """Return the endpoint of these signals, by default of all; the endpoints where they have different ones."""
        return ", ".join(dict.fromkeys(self.urls[signal] for signal in signals or self.urls))

    def answers(self) -> bool:
        """Whether connections are accepted at every endpoint; 0.2 s for each. It need not be a collector."""
        return all(_accepts_connections(url) for url in set(self.urls.values()))

    @staticmethod
    def timeout(signal: str) -> float | None:
        """Return how many seconds one export may take; None where the environment says so to the SDK."""
        return None if _value(_TIMEOUTS[signal]) or _value(_TIMEOUT) else _EXPORT_SECONDS

    @staticmethod
    def headers() -> dict[str, str] | None:
        """Return the headers of `EBPF_BOT_OTLP_HEADERS_FILE`, `name=value` on each line; None where it is not set.

        A secret in a variable is seen by whoever may read a process's environment, and by every command that is
        covered. What is in the file is said nowhere, not even where it cannot be read.

        Raises:
            ValueError: the file cannot be read, or has another line.
        """
        path = _value("EBPF_BOT_OTLP_HEADERS_FILE")
        if not path:
            return None
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
            raise ValueError(f"EBPF_BOT_OTLP_HEADERS_FILE: {path}: {why}") from None
        headers = {}
        for number, line in enumerate(lines, 1):
            name, equals, value = (part.strip() for part in line.partition("="))
            if equals and name:
                headers[name.lower()] = value
            elif line.strip():
                raise ValueError(f"EBPF_BOT_OTLP_HEADERS_FILE: {path}: line {number} is not name=value")
        return headers

    @property
    def hint(self) -> str:
        """What to do where nothing arrives there."""
        if any("://" not in url for url in self.urls.values()):
            return "without http:// before it an endpoint is taken to speak TLS"
        protocol = _word("OTEL_EXPORTER_OTLP_PROTOCOL")
        if protocol not in ("", "grpc"):
            return (
                f"this is OTLP over gRPC, but OTEL_EXPORTER_OTLP_PROTOCOL says {protocol}: use the gRPC port"
            )
        return "start a collector there, set OTEL_EXPORTER_OTLP_ENDPOINT, or switch export off with ENABLE_OTLP=false"


def switched_off() -> str:
    """Return the setting that switches export off; empty if none does."""
    if _word("ENABLE_OTLP") in ("false", "0", "no", "off"):
        return "ENABLE_OTLP=false"
    if _word("OTEL_SDK_DISABLED") == "true":
        return "OTEL_SDK_DISABLED=true"
    return "" if any(map(_is_wanted, SIGNALS)) else ", ".join(f"{name}=none" for name in _EXPORTERS.values())


def _is_wanted(signal: str) -> bool:
    """Whether nobody chose another exporter, or `none`, for a signal."""
    chosen = _word(_EXPORTERS[signal]) or "otlp"
    return any(exporter.strip().startswith("otlp") for exporter in chosen.split(","))


def _value(variable: str) -> str:
    return os.environ.get(variable, "").strip()


def _word(variable: str) -> str:
    return _value(variable).lower()


def _accepts_connections(url: str) -> bool:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        address = (parts.hostname or "localhost", parts.port or _DEFAULT_PORT)
        with socket.create_connection(address, _CONNECT_SECONDS):
            return True
    except (OSError, ValueError):
        return False
