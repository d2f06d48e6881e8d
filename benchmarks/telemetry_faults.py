"""What a bad collector costs a run: how long it delays the exit, what is said, and what is missing at the far end.

Run by `make bench`. Each row is one simulated run of some seconds; the bad collectors are those of tests/telemetry.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # the receivers' own complaints are not what is measured
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "telemetry"))

import grpc
from authority import Authority
from otlp_receiver import OtlpReceiver, ebpf_bot, refused_port, run, silent_port
from slow_network import slow_network

STEP = "unified_pipeline_decision"
BURST = """
import resource
from opentelemetry import metrics, trace
from ebpf_bot_core.telemetry.otlp import exporting
with exporting():
    tracer = trace.get_tracer("burst")
    tracer.start_span("first").end()
    metrics.get_meter_provider().force_flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(100_000):
        tracer.start_span("one of many").end()
    metrics.get_meter_provider().force_flush()
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


class Both:
    """What came to a receiver before it restarted, and to it afterwards."""

    def __init__(self, *receivers: OtlpReceiver) -> None:
        self.receivers = list(receivers)

    @property
    def spans(self) -> list[Any]:
        """Every span that has come in."""
        return [span for receiver in self.receivers for span in receiver.spans]


@contextmanager
def restarting(after: float, away: float) -> Iterator[tuple[str, Both]]:
    """Run a receiver that goes away in the middle, and comes back at the same port."""
    both = Both(OtlpReceiver().__enter__())

    def restart() -> None:
        both.receivers[0].__exit__()
        time.sleep(away)
        both.receivers.append(OtlpReceiver(port=both.receivers[0].port).__enter__())

    timer = threading.Timer(after, restart)
    timer.start()
    yield both.receivers[0].url, both
    timer.join()
    both.receivers[-1].__exit__()


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
    yield f"restarts, {seconds / 4:g} s away", restarting(seconds / 2, seconds / 4)
    yield "200 ms away", far_away(0.1)


def tls(folder: Path) -> Iterator[tuple[str, dict[str, str], OtlpReceiver]]:
    """Yield what is wrong with TLS, the variables of who sends, and the receiver."""
    theirs, another = (Authority.new(folder, name) for name in ("theirs", "another"))
    certificates = {
        "good": theirs.sign("good"),
        "elsewhere": theirs.sign("elsewhere", host="elsewhere"),
        "expired": theirs.sign("expired", days=-1),
    }

    def receiver(certificate: str, *, asks_clients: bool = False) -> OtlpReceiver:
        key, own = certificates[certificate]
        root = theirs.certificate.read_bytes() if asks_clients else None
        pair = (key.read_bytes(), own.read_bytes())
        return OtlpReceiver(credentials=grpc.ssl_server_credentials([pair], root, asks_clients))

    trust = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(theirs.certificate)}
    yield "nothing", trust, receiver("good")
    yield "plain text to a TLS port", {}, receiver("good")
    yield "another authority", {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(another.certificate)}, receiver("good")
    yield "a certificate for another host", trust, receiver("elsewhere")
    yield "an expired certificate", trust, receiver("expired")
    yield "no client certificate, one is asked", trust, receiver("good", asks_clients=True)


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
        print(f"\n{'wrong with TLS':36} {'status':>6} {'warnings':>8} {'steps':>6} {'arrived':>7}")
        for wrong, variables, receiver in tls(cwd):
            with receiver:
                url = receiver.url if variables else receiver.url.replace("https", "http")
                ended = ebpf_bot(*words, cwd=cwd, OTEL_EXPORTER_OTLP_ENDPOINT=url, **variables)
            steps = json.loads(ended.stdout)["runs"][0]["steps"]
            arrived = sum(span.name == STEP for span in receiver.spans)
            print(f"{wrong:36} {ended.status:6} {len(ended.stderr.splitlines()):8} {steps:6} {arrived:7}")
        print(
            f"\n{'100,000 spans at once':32} {'exit later s':>12} {'MiB more':>8} {'arrived':>8} {'dropped':>8}"
        )
        for wrong, collector in (("a collector", receiving()), ("no collector", without(refused_port))):
            # The metrics have a receiver that is there, so that what was dropped is known.
            with collector as (url, receiver), OtlpReceiver() as counting:
                ended = ebpf_bot(
                    cwd=cwd,
                    code=f"exec({BURST!r})",
                    OTEL_EXPORTER_OTLP_ENDPOINT=url,
                    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=counting.url,
                )
                arrived = sum(span.name == "one of many" for span in receiver.spans) if receiver else 0
                dropped = dropped_says(counting)
            more = int(ended.stdout) / 1024
            print(f"{wrong:32} {ended.exit_seconds:12.2f} {more:8.0f} {arrived:8,} {dropped:8,}")


def dropped_says(receiver: OtlpReceiver) -> int:
    """Return how many spans the SDK's own metric says were dropped."""
    metric = receiver.metrics["otel.sdk.processor.span.processed"]
    return sum(
        point.as_int
        for point in metric.sum.data_points
        if any(each.value.string_value == "queue_full" for each in point.attributes)
    )


if __name__ == "__main__":
    main()
