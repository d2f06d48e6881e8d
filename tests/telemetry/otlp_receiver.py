"""An OTLP/gRPC receiver on loopback, good and bad, and the command line that sends to it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, Final, Self

import attrs
import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

LONGEST: Final = 60.0
"""Seconds after which a command line hangs."""


class OtlpReceiver:
    """Takes what is exported, as a collector would; a context manager.

    Args:
        answer: `take`; `refuse`, with UNAVAILABLE; or `hang`, on every call until it is closed.
        credentials: for TLS.
        port: where to listen; 0 for any that is free.

    Attributes:
        requests: the export requests in the order in which they came.
        metadata: the headers of the last one.
    """

    def __init__(
        self, answer: str = "take", credentials: grpc.ServerCredentials | None = None, port: int = 0
    ) -> None:
        self.requests: list[Any] = []
        self.metadata: dict[str, Any] = {}
        self._answer = answer
        self._closing = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        for base, response, add in (
            (
                trace_service_pb2_grpc.TraceServiceServicer,
                trace_service_pb2.ExportTraceServiceResponse,
                trace_service_pb2_grpc.add_TraceServiceServicer_to_server,
            ),
            (
                metrics_service_pb2_grpc.MetricsServiceServicer,
                metrics_service_pb2.ExportMetricsServiceResponse,
                metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server,
            ),
            (
                logs_service_pb2_grpc.LogsServiceServicer,
                logs_service_pb2.ExportLogsServiceResponse,
                logs_service_pb2_grpc.add_LogsServiceServicer_to_server,
            ),
        ):
            servicer = type("Servicer", (base,), {"Export": self._export_for(response)})()
            add(servicer, self._server)
        if credentials is None:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            self.port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self.url = f"http{'s' if credentials else ''}://localhost:{self.port}"

    def _export_for(self, response: type) -> Any:
        def export(_: object, request: Any, context: grpc.ServicerContext) -> Any:
            self.metadata = dict(context.invocation_metadata())
            if self._answer == "refuse":
                context.abort(grpc.StatusCode.UNAVAILABLE, "full")
            if self._answer == "hang":
                self._closing.wait(LONGEST)
            self.requests.append(request)
            return response()

        return export

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.stop(0).wait()

    @property
    def spans(self) -> list[Any]:
        """Every span that has come in."""
        return [span for scope in self._scopes("resource_spans", "scope_spans") for span in scope.spans]

    @property
    def metrics(self) -> dict[str, Any]:
        """Every metric that has come in, by name, as it came last."""
        scopes = self._scopes("resource_metrics", "scope_metrics")
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    @property
    def logs(self) -> list[Any]:
        """Every log record that has come in."""
        return [each for scope in self._scopes("resource_logs", "scope_logs") for each in scope.log_records]

    def resources(self) -> list[dict[str, Any]]:
        """Return the attributes of the resource of every request."""
        kinds = ("resource_spans", "resource_metrics", "resource_logs")
        parts = [part for request in self.requests for kind in kinds for part in getattr(request, kind, ())]
        return [plain(part.resource.attributes) for part in parts]

    def _scopes(self, outer: str, inner: str) -> Iterator[Any]:
        for request in self.requests:
            for part in getattr(request, outer, ()):
                yield from getattr(part, inner)


def plain(attributes: Sequence[Any]) -> dict[str, Any]:
    """Return the attributes of a protobuf message as plain values."""
    return {each.key: _plain(each.value) for each in attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return (
        [_plain(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)
    )


@contextlib.contextmanager
def silent_port() -> Iterator[str]:
    """Give an endpoint that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def refused_port() -> Iterator[str]:
    """Give an endpoint that refuses connections: a port that is taken, but not listened at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@attrs.frozen
class Ended:
    """How a command line ended.

    Attributes:
        exit_seconds: from the moment its report was whole to the end of the process.
    """

    status: int
    stdout: str
    stderr: str
    exit_seconds: float


def environment(**variables: str) -> dict[str, str]:
    """Return this environment without anything that configures telemetry, except `variables`."""
    foreign = ("OTEL_", "GRPC_", "ENABLE_OTLP", "EBPF_BOT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
    return {**kept, **variables}


def run(*functions: str) -> tuple[str, ...]:
    """Return the words of a run that covers functions of the simulated checkout service."""
    patterns = [word for name in functions for word in ("--expect", f"uprobe:/usr/bin/checkout:{name}")]
    return ("run", *patterns, "--backend", "simulated", "--store", "memory", "--json")


def ebpf_bot(*arguments: str, cwd: Path, code: str = "", **variables: str) -> Ended:
    """Run `ebpf-bot` to its end.

    Args:
        code: Python to run before it, in its process.
        variables: the environment that configures telemetry.
    """
    start = f"import sys; {code}; from ebpf_bot_core.cli import main; main()"
    script = [sys.executable, "-c", start] if code else [Path(sys.executable).with_name("ebpf-bot")]
    with (
        (cwd / "stderr").open("w+") as stderr,
        subprocess.Popen(
            [*script, *arguments],
            cwd=cwd,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        watchdog = threading.Timer(LONGEST, process.kill)
        watchdog.start()
        lines, reported = [], time.monotonic()
        for line in process.stdout or ():
            lines.append(line)
            reported = time.monotonic()
        status = process.wait()
        ended = time.monotonic()
        watchdog.cancel()
        stderr.seek(0)
        return Ended(status, "".join(lines), stderr.read(), ended - reported)
