"""The exporters, each set up from what the destination says and not from what the SDK would take by default."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import AggregationTemporality

from ebpf_bot_core.telemetry.delivery import Delivery
from ebpf_bot_core.telemetry.destination import SIGNALS
from ebpf_bot_core.telemetry.sdk import _KINDS

from .otlp_receiver import OtlpReceiver, environment, refused_port


@pytest.fixture
def exporter_of():
    """Return a function that makes a signal's exporter, which is shut down afterwards."""
    made = []

    def make(signal, url, delivery):
        made.append(_KINDS[signal].line(signal, url, delivery))
        return made[-1]

    yield make
    for exporter in made:
        exporter.shutdown()


def test_every_signal_has_one():
    assert set(_KINDS) == set(SIGNALS)


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_time_for_an_export(exporter_of, monkeypatch, signal):
    for name in ("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    assert exporter_of(signal, "http://localhost:1", Delivery()).open()._timeout == 2
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "7")
    assert exporter_of(signal, "http://localhost:1", Delivery()).open()._timeout == 7
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT", "5")
    assert exporter_of(signal, "http://localhost:1", Delivery()).open()._timeout == 5


@pytest.mark.parametrize("signal", SIGNALS)
def test_what_is_delivered_is_noted(exporter_of, signal):
    delivery = Delivery()
    with OtlpReceiver() as receiver:
        exporter_of(signal, receiver.url, delivery).export(_KINDS[signal].nothing)
    assert len(receiver.requests) == 1
    assert (delivery.failed, delivery.is_partial) == ([], True)


@pytest.mark.parametrize("signal", SIGNALS)
def test_what_is_not_delivered_is_noted(exporter_of, signal):
    delivery = Delivery()
    with refused_port() as url:
        exporter_of(signal, url, delivery).export(_KINDS[signal].nothing)
    assert (delivery.failed, delivery.is_partial) == ([signal], False)


def test_an_empty_variable_does_not_stand_in_for_the_endpoint(exporter_of, monkeypatch):
    """Compose files leave variables empty; the SDK alone would export to nowhere."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    delivery = Delivery()
    with OtlpReceiver() as receiver:
        exporter_of("traces", receiver.url, delivery).export(())
    assert len(receiver.requests) == 1


WHAT_IS_THERE = """
import sys
from ebpf_bot_core.telemetry.destination import Destination
from ebpf_bot_core.telemetry.sdk import Export
export = Export(Destination.from_environment())
before = 'grpc' in sys.modules
export.open()
print(before, 'grpc' in sys.modules)
"""


def test_grpc_comes_later_than_the_sdk():
    """It takes as long to import as the rest; what is covered would have to wait for it."""
    found = subprocess.run(
        [sys.executable, "-c", WHAT_IS_THERE],
        env=environment(OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:1"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout == "False True\n"


def test_an_exporter_is_made_once(exporter_of):
    exporter = exporter_of("traces", "http://localhost:1", Delivery())
    assert exporter.open() is exporter.open()


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_variable_that_cannot_be_read_is_noted(exporter_of, monkeypatch, signal):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")
    delivery = Delivery()
    result = exporter_of(signal, "http://localhost:1", delivery).export(_KINDS[signal].nothing)
    assert (result.name, delivery.failed) == ("FAILURE", [signal])
    assert "zstd" in delivery.unusable


@pytest.mark.parametrize(
    ("preference", "expected"),
    [("", None), ("cumulative", AggregationTemporality.CUMULATIVE), ("delta", AggregationTemporality.DELTA)],
)
def test_how_metrics_are_gathered_is_known_before_the_first(exporter_of, monkeypatch, preference, expected):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
    exporter = exporter_of("metrics", "http://localhost:1", Delivery())
    # The SDK's reader takes it from here, and gathers sums where nothing is said.
    assert (exporter._preferred_temporality or {}).get(Counter) == expected
