"""The local stack without Docker: the shipped collector, Prometheus behind it, and a second collector for Jaeger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from .programs import ROOT, Program, free_ports, get, program, rewritten

SECOND_COLLECTOR = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}
exporters:
  file: {{path: "{spans}", flush_interval: 100ms, append: true}}
extensions:
  health_check: {{endpoint: "127.0.0.1:{health}"}}
service:
  extensions: [health_check]
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
  telemetry: {{metrics: {{level: none}}}}
"""


class LocalStack:
    """What `docker compose up` starts, as far as it can be had without Docker; a context manager.

    Attributes:
        endpoint: where OTLP/gRPC is taken.
        metrics_url: where the collector shows what it received.
        prometheus_url: Prometheus.
        logs: the file that log records come to.
        collector: the collector; leave and enter it again to restart it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open = ExitStack()
        otlp, http, own, shown, health, spans, spans_health, prometheus = free_ports(8)
        self.endpoint = f"http://127.0.0.1:{otlp}"
        self.metrics_url = f"http://127.0.0.1:{shown}/metrics"
        self.own_metrics_url = f"http://127.0.0.1:{own}/metrics"
        self.health_url = f"http://127.0.0.1:{health}"
        self.prometheus_url = f"http://127.0.0.1:{prometheus}"
        self.logs = directory / "otel-logs" / "logs.json"
        self.logs.parent.mkdir()
        self._spans = directory / "spans.json"

        (directory / "collector.yaml").write_text(
            rewritten(
                ROOT / "otel-collector-config.yaml",
                {
                    "0.0.0.0:4317": f"127.0.0.1:{otlp}",
                    "0.0.0.0:4318": f"127.0.0.1:{http}",
                    "0.0.0.0:8889": f"127.0.0.1:{shown}",
                    "0.0.0.0:13133": f"127.0.0.1:{health}",
                    "host: 0.0.0.0": "host: 127.0.0.1",
                    "port: 8888": f"port: {own}",
                    "jaeger:4317": f"127.0.0.1:{spans}",
                    "/var/log/otel/logs.json": self.logs,
                },
            )
        )
        (directory / "second.yaml").write_text(
            SECOND_COLLECTOR.format(port=spans, health=spans_health, spans=self._spans)
        )
        (directory / "prometheus.yml").write_text(
            rewritten(
                ROOT / "prometheus.yml",
                {
                    "otel-collector:8889": f"127.0.0.1:{shown}",
                    "otel-collector:8888": f"127.0.0.1:{own}",
                    "/etc/prometheus/rules": ROOT / "prometheus",
                },
            )
        )
        otelcol = program("otelcol")
        self.collector = self._program(
            "collector", otelcol, "--config", directory / "collector.yaml", ready=self.health_url
        )
        self._second = self._program(
            "second", otelcol, "--config", directory / "second.yaml", ready=f"http://127.0.0.1:{spans_health}"
        )
        self._prometheus = self._program(
            "prometheus",
            program("prometheus"),
            *_prometheus_options(directory),
            f"--web.listen-address=127.0.0.1:{prometheus}",
            ready=f"{self.prometheus_url}/-/ready",
        )

    def _program(self, name: str, *words: object, ready: str) -> Program:
        return Program(*words, log=self._directory / f"{name}.log", ready=ready, cwd=self._directory)

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for each in (self._second, self.collector, self._prometheus):
                opening.enter_context(each)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def spans(self) -> list[dict[str, Any]]:
        """Return every span that came through to where Jaeger would be, in OTLP's JSON; with its resource."""
        return [
            {**span, "resource": plain(resource["resource"]["attributes"]), "scope": scope["scope"]}
            for message in _messages(self._spans)
            for resource in message["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """Return the spans of a trace."""
        return [span for span in self.spans() if span["traceId"] == trace_id]

    def log_records(self) -> list[dict[str, Any]]:
        """Return every log record in the log file, in OTLP's JSON."""
        return [
            record
            for message in _messages(self.logs)
            for resource in message["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]

    def ask(self, path: str, **parameters: object) -> Any:
        """Return the data that Prometheus' API answers with."""
        answer = json.loads(get(f"{self.prometheus_url}/api/v1/{path}?{urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now."""
        return self.ask("query", query=expression)["result"]


def _prometheus_options(directory: Path) -> list[str]:
    """Return the options that docker-compose.yaml gives Prometheus, with other paths."""
    options = {
        "--config.file=/etc/prometheus/prometheus.yml": f"--config.file={directory / 'prometheus.yml'}",
        "--storage.tsdb.path=/prometheus": f"--storage.tsdb.path={directory / 'tsdb'}",
    }
    compose = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
    shipped = compose["services"]["prometheus"]["command"]
    assert set(options) < set(shipped)
    return [options.get(option, option) for option in shipped]


def _messages(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a file that may be written to meanwhile."""
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        if line.endswith("\n"):
            yield json.loads(line)


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return attributes in OTLP's JSON as plain values."""
    return {each["key"]: _plain(each["value"]) for each in attributes}


def _plain(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [_plain(each) for each in content.get("values", ())]
    return int(content) if kind == "intValue" else content
