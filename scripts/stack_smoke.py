"""Sends one of everything to the running stack, and asks each part of it for what must have arrived.

The addresses are those of docker-compose.yaml; what is given as `none` is not asked. Exits with 1 where something is
missing, and says what.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from ebpf_bot_core.telemetry import names

ROOT = Path(__file__).parents[1]
SECONDS = 60.0


def ask(url: str) -> object:
    """Return what an HTTP API answers: JSON where it is JSON."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def sent(endpoint: str) -> str:
    """Send one of everything, and return the id of the trace."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "emit_telemetry.py"],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "ENABLE_OTLP": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^trace ([0-9a-f]{32})$", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        sys.exit(f"nothing was sent: {done.stderr.strip()}")
    return found[1]


def in_jaeger(url: str, trace_id: str) -> str:
    """Look for every span of the trace."""
    answer = ask(f"{url}/api/traces/{trace_id}")
    spans = {span["operationName"] for trace in answer["data"] for span in trace["spans"]}
    missing = sorted(set(names.SPANS) - spans)
    return f"no span {', '.join(missing)}" if missing else ""


def in_prometheus(url: str) -> str:
    """Look for every metric."""
    known = set(ask(f"{url}/api/v1/label/__name__/values")["data"])
    wanted = {
        f"{metric.name}_count" if metric.kind == "histogram" else metric.name
        for metric in names.METRICS.values()
    }
    missing = sorted(wanted - known)
    if missing:
        return f"no metric {', '.join(missing)}"
    job = urlencode({"query": f'ebpf_bot_errors_total{{job="{names.SERVICE_NAME}"}}'})
    return "" if ask(f"{url}/api/v1/query?{job}")["data"]["result"] else "no ebpf_bot_errors_total now"


def in_logs(path: Path, trace_id: str) -> str:
    """Look for a log line of the trace."""
    return "" if path.exists() and trace_id in path.read_text(encoding="utf-8") else f"no line has {trace_id}"


def in_grafana(url: str) -> str:
    """Look for its health, and for every dashboard."""
    if ask(f"{url}/api/health")["database"] != "ok":
        return "it is not healthy"
    found = {each["uid"] for each in ask(f"{url}/api/search?tag=ebpf-bot")}
    files = (ROOT / "grafana" / "dashboards").glob("*.json")
    missing = {json.loads(file.read_text(encoding="utf-8"))["uid"] for file in files} - found
    return f"no dashboard {', '.join(sorted(missing))}" if missing else ""


def eventually(look: Callable[[], str], seconds: float) -> str:
    """Look until nothing is missing; return what still is when the time is up."""
    end = time.monotonic() + seconds
    while True:
        try:
            missing = look()
        except (OSError, ValueError, KeyError, TypeError) as error:
            missing = f"{type(error).__name__}: {error}"
        if not missing or time.monotonic() > end:
            return missing
        time.sleep(0.5)


def main() -> None:
    """Send, ask, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", default="http://localhost:4317", help="OTLP over gRPC")
    parser.add_argument("--health", default="http://localhost:13133", help="the collector's health_check")
    parser.add_argument("--jaeger", default="http://localhost:16686")
    parser.add_argument("--prometheus", default="http://localhost:9090")
    parser.add_argument("--grafana", default="http://localhost:3000")
    parser.add_argument("--logs", default=str(ROOT / "otel-logs" / "logs.json"))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long to wait for each")
    options = parser.parse_args()

    unhealthy = eventually(lambda: "" if ask(options.health) else "it says nothing", options.seconds)
    if unhealthy:
        sys.exit(f"collector: {unhealthy} at {options.health}; is the stack up? `make stack-up`")
    trace_id = sent(options.endpoint)
    print(f"sent: trace {trace_id}")
    looks = {
        "jaeger": lambda: in_jaeger(options.jaeger, trace_id),
        "prometheus": lambda: in_prometheus(options.prometheus),
        "logs": lambda: in_logs(Path(options.logs), trace_id),
        "grafana": lambda: in_grafana(options.grafana),
    }
    failed = False
    for name, look in looks.items():
        if getattr(options, name) == "none":
            print(f"{name}: not asked")
            continue
        missing = eventually(look, options.seconds)
        failed = failed or bool(missing)
        print(f"{name}: {missing or 'all there'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
