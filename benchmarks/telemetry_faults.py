"""What a bad collector costs a run: how long it delays the exit, what is said, and what is missing at the far end.

Run by `make bench`. Each row is one simulated run of some seconds; the bad collectors are those of tests/telemetry.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "telemetry"))

from otlp_receiver import OtlpReceiver, ebpf_bot, refused_port, run, silent_port
from slow_network import slow_network

STEP = "unified_pipeline_decision"
BURST = """
import resource
from opentelemetry import trace
from ebpf_bot_core.telemetry.otlp import exporting
with exporting():
    tracer = trace.get_tracer("burst")
    tracer.start_span("first").end()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(100_000):
        tracer.start_span("one of many").end()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, flush=True)
raise SystemExit
"""


@contextmanager
def receiving(answer: str = "take") -> Iterator[tuple[str, OtlpReceiver]]:
    """Run a receiver."""
    with OtlpReceiver(answer) as receiver:
        yield receiver.url, receiver


@contextmanager
def without(endpoint) -> Iterator[tuple[str, None]]:  # noqa: ANN001
    """Give an endpoint behind which nobody receives."""
    with endpoint() as url:
        yield url, None


@contextmanager
def back_after(seconds: float) -> Iterator[tuple[str, OtlpReceiver]]:
    """Run a receiver that is unavailable at first."""
    with OtlpReceiver("refuse") as receiver:
        timer = threading.Timer(seconds, lambda: setattr(receiver, "_answer", "take"))
        timer.start()
        yield receiver.url, receiver
        timer.cancel()


@contextmanager
def far_away(seconds: float) -> Iterator[tuple[str, OtlpReceiver]]:
    """Run a receiver behind a slow network."""
    with OtlpReceiver() as receiver, slow_network(receiver.port, seconds) as url:
        yield url, receiver


def rows(seconds: float) -> Iterator[tuple[str, object]]:
    """Yield what is wrong, and the endpoint at which it is."""
    yield "nothing", receiving()
    yield "absent", without(refused_port)
    yield "silent", without(silent_port)
    yield "takes calls, never answers", receiving("hang")
    yield "always UNAVAILABLE", receiving("refuse")
    yield f"UNAVAILABLE for {seconds / 2:g} s, then up", back_after(seconds / 2)
    yield "200 ms away", far_away(0.1)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    options = parser.parse_args()
    words = (*run("main", "parse_cart", "refund_order", "strlen"), "--for", f"{options.seconds:g}s")
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        off = ebpf_bot(*words, cwd=cwd, ENABLE_OTLP="false").exit_seconds
        print(
            f"{'what is wrong':32} {'exit later s':>12} {'status':>6} {'warnings':>8} {'steps':>6} {'arrived':>7}"
        )
        for wrong, collector in rows(options.seconds):
            with collector as (url, receiver):
                ended = ebpf_bot(*words, cwd=cwd, OTEL_EXPORTER_OTLP_ENDPOINT=url)
                steps = json.loads(ended.stdout)["runs"][0]["steps"]
                arrived = sum(span.name == STEP for span in receiver.spans) if receiver else 0
            later = ended.exit_seconds - off
            warnings = len(ended.stderr.splitlines())
            print(f"{wrong:32} {later:12.2f} {ended.status:6} {warnings:8} {steps:6} {arrived:7}")
        print(f"\n{'100,000 spans at once':32} {'exit later s':>12} {'MiB more':>8} {'arrived':>8}")
        for wrong, collector in (("a collector", receiving()), ("no collector", without(refused_port))):
            with collector as (url, receiver):
                ended = ebpf_bot(cwd=cwd, code=f"exec({BURST!r})", OTEL_EXPORTER_OTLP_ENDPOINT=url)
                arrived = len(receiver.spans) if receiver else 0
            print(f"{wrong:32} {ended.exit_seconds:12.2f} {int(ended.stdout) / 1024:8.0f} {arrived:8,}")


if __name__ == "__main__":
    main()
