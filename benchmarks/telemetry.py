"""What telemetry costs: a step with an SDK and without, in spans of the bare SDK; and a whole run, exporting and not.

Run by `make bench`; for whole runs `make stack-programs` has to have got a collector. They cover libcrypto's EVP
functions under a command of one and of ten seconds, and need the privileges that `ebpf-bot doctor` names.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from pipeline import Quiet

from ebpf_bot_core import Plan, UnifiedPipeline
from ebpf_bot_core.stores.memory import MemoryStore

OTELCOL = Path(__file__).parents[1] / "build" / "stack" / "otelcol"
Times = tuple[float, float]
"""Wall time and processor time, in seconds."""
CONFIG = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{debug: {{verbosity: basic}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [debug]}}
    metrics: {{receivers: [otlp], exporters: [debug]}}
    logs: {{receivers: [otlp], exporters: [debug]}}
"""


class Nowhere(SpanExporter):
    """Takes every batch, so that what is measured is what the pipeline's own thread pays."""

    def export(self, spans: tuple[ReadableSpan, ...]) -> SpanExportResult:  # noqa: ARG002
        """Take it."""
        return SpanExportResult.SUCCESS


def steps(rounds: int) -> None:
    """Compare the processor time of steps; the two kinds take turns, so that both see the same machine."""
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=2**16))
    metering = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    tracer = tracing.get_tracer("bare")

    def bare_span() -> None:
        with tracer.start_as_current_span(
            "bare", attributes={"ebpf_bot.step": 1, "ebpf_bot.plugin.name": "none"}
        ):
            pass

    print(
        f"{'probes':>8} {'off us':>8} {'on us':>8} {'added us':>9} {'one span us':>12} {'added, in spans':>16}"
    )
    for count in (10, 5_000):
        backends = [Quiet(count), Quiet(count)]
        off, on = (
            UnifiedPipeline(
                Plan.of(["syscall:x"]),
                injector=each,
                receiver=each,
                store=MemoryStore(),
                processors=(),
                **providers,
            )
            for each, providers in zip(
                backends, ({}, {"tracer_provider": tracing, "meter_provider": metering}), strict=True
            )
        )
        times: dict[str, list[float]] = {"off": [], "on": [], "span": []}
        for _ in range(rounds):
            for name, work in (
                ("off", off.step),
                ("on", on.step),
                ("span", bare_span),
            ):
                began = time.thread_time()
                work()
                times[name].append((time.thread_time() - began) * 1e6)
        a, b, span = (statistics.median(times[name]) for name in ("off", "on", "span"))
        print(f"{count:8,} {a:8.0f} {b:8.0f} {b - a:9.0f} {span:12.1f} {(b - a) / span:16.1f}")


def work(folder: str) -> list[str]:
    """Return a command that takes some processor time, all of it in libcrypto."""
    return ["openssl", "dgst", "-sha256", f"{folder}/data"]


def repeated(seconds: float, folder: str) -> list[str]:
    """Return a command that does so much work as takes about these seconds here.

    A fixed time, as `openssl speed` takes, would hide what was added.
    """
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(work(folder), check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    count = max(1, round(seconds / min(times)))
    return ["sh", "-c", f"for i in $(seq {count}); do {' '.join(work(folder))}; done"]


def one_run(command: Sequence[str], endpoint: str, folder: str) -> Times:
    """Return the wall time of a covering run, and the processor time of all in it."""
    words = ["run", "--expect", "uprobe:libcrypto:EVP_*", "--store", "memory", "--", *command]
    off = {"ENABLE_OTLP": "false"}
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if endpoint else off
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ebpf_bot_core", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )  # fmt: skip
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def runs(rounds: int, lengths: Sequence[float]) -> None:
    """Compare whole runs in pairs, of which every other one begins with the one that exports."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        Path(folder, "data").write_bytes(os.urandom(80 * 2**20))
        Path(folder, "collector.yaml").write_text(CONFIG.format(port=port), encoding="utf-8")
        collector = subprocess.Popen(
            [OTELCOL, "--config", f"{folder}/collector.yaml"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.1)
            print(f"\n{'a whole run':23} {'off s':>8} {'on s':>8} {'added s':>8} {'added':>8}")
            for seconds in lengths:
                command = repeated(seconds, folder)
                pairs = [
                    pair(command, f"http://127.0.0.1:{port}", folder, at % 2 == 1) for at in range(rounds)
                ]
                show(f"{seconds:g} s", pairs)
        finally:
            collector.terminate()
            collector.wait()


def pair(command: Sequence[str], endpoint: str, folder: str, exporting_first: bool) -> tuple[Times, Times]:
    """Return the times of a run without telemetry and of one with it."""
    if exporting_first:
        on = one_run(command, endpoint, folder)
        return one_run(command, "", folder), on
    return one_run(command, "", folder), one_run(command, endpoint, folder)


def show(length: str, pairs: Sequence[tuple[Times, Times]]) -> None:
    """Print the medians: of the times, of the differences and of the ratios of each pair."""
    for at, name in enumerate(("wall time", "processor time")):
        offs, ons = ([run[at] for run in runs] for runs in zip(*pairs, strict=True))
        added = statistics.median(on - off for off, on in zip(offs, ons, strict=True))
        ratio = statistics.median(on / off - 1 for off, on in zip(offs, ons, strict=True))
        off, on = statistics.median(offs), statistics.median(ons)
        print(f"{length:>5}, {name:16} {off:8.2f} {on:8.2f} {added:8.2f} {ratio:8.1%}")


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500, help="of steps")
    parser.add_argument("--runs", type=int, default=5, help="pairs of whole runs")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 10], help="roughly, of whole runs")
    options = parser.parse_args()
    steps(options.rounds)
    if OTELCOL.exists():
        runs(options.runs, options.seconds)
    else:
        print("\nno whole run was measured: `make stack-programs` gets a collector", file=sys.stderr)


if __name__ == "__main__":
    main()
