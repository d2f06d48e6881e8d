"""The exporters, each set up from what the destination says and not from what the SDK would take by default."""

from __future__ import annotations

import pytest

from ebpf_bot_core.telemetry.delivery import Delivery
from ebpf_bot_core.telemetry.destination import SIGNALS
from ebpf_bot_core.telemetry.sdk import _KINDS

from .otlp_receiver import OtlpReceiver, refused_port


@pytest.fixture
def exporter_of():
    """Return a function that makes a signal's exporter, which is shut down afterwards."""
    made = []

    def make(signal, url, delivery):
        made.append(_KINDS[signal].exporter(url, delivery))
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
    assert exporter_of(signal, "http://localhost:1", Delivery())._timeout == 2
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "7")
    assert exporter_of(signal, "http://localhost:1", Delivery())._timeout == 7
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT", "5")
    assert exporter_of(signal, "http://localhost:1", Delivery())._timeout == 5


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
