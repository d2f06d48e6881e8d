"""Where telemetry goes, as the environment says."""

from __future__ import annotations

import os

import pytest

from ebpf_bot_core.telemetry.destination import SIGNALS, Destination, switched_off

from .otlp_receiver import refused_port, silent_port

DEFAULT = "http://localhost:4317"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    """Leave no variable that somebody may have set."""
    for name in list(os.environ):
        if name.startswith(("OTEL_", "ENABLE_OTLP")):
            monkeypatch.delenv(name)


@pytest.fixture
def destination(monkeypatch):
    """Return a function that reads the destination from variables."""

    def read(**variables: str) -> Destination:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Destination.from_environment()

    return read


def test_by_default(destination):
    assert destination() == Destination(dict.fromkeys(SIGNALS, DEFAULT), asked_for=False)
    assert switched_off() == ""


def test_one_endpoint_for_all(destination):
    found = destination(OTEL_EXPORTER_OTLP_ENDPOINT="https://collector:4317")
    assert found == Destination(dict.fromkeys(SIGNALS, "https://collector:4317"), asked_for=True)
    assert found.where() == "https://collector:4317"


def test_an_endpoint_for_one_signal(destination):
    found = destination(OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="http://logs:4317")
    assert found.urls == {"traces": DEFAULT, "metrics": DEFAULT, "logs": "http://logs:4317"}
    assert found.asked_for
    assert found.where() == f"{DEFAULT}, http://logs:4317"
    assert found.where(["logs"]) == "http://logs:4317"


def test_an_empty_variable_says_nothing(destination):
    assert not destination(OTEL_EXPORTER_OTLP_ENDPOINT="  ", ENABLE_OTLP="").asked_for


@pytest.mark.parametrize("word", ["true", "TRUE", " 1 ", "yes", "on"])
def test_export_can_be_asked_for(destination, word):
    assert destination(ENABLE_OTLP=word).asked_for
    assert switched_off() == ""


@pytest.mark.parametrize("word", ["false", "False", " 0 ", "no", "off"])
def test_export_can_be_switched_off(monkeypatch, word):
    monkeypatch.setenv("ENABLE_OTLP", word)
    assert switched_off() == "ENABLE_OTLP=false"


def test_the_sdk_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert switched_off() == "OTEL_SDK_DISABLED=true"


@pytest.mark.parametrize(
    ("exporter", "wanted"),
    [
        ("none", False),
        ("console", False),
        ("otlp", True),
        ("console,otlp", True),
        ("otlp_proto_grpc", True),
        ("", True),
    ],
)
def test_another_exporter_for_a_signal(destination, exporter, wanted):
    assert ("metrics" in destination(OTEL_METRICS_EXPORTER=exporter).urls) is wanted


def test_no_signal_at_all(destination):
    none = {f"OTEL_{signal.upper()}_EXPORTER": "none" for signal in SIGNALS}
    assert destination(**none).urls == {}
    assert "OTEL_TRACES_EXPORTER=none" in switched_off()


def test_the_time_for_an_export(monkeypatch):
    assert {Destination.timeout(signal) for signal in SIGNALS} == {2.0}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "7")
    assert [Destination.timeout(signal) for signal in SIGNALS] == [2.0, 2.0, None]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "7")
    assert {Destination.timeout(signal) for signal in SIGNALS} == {None}


def test_who_answers():
    with silent_port() as silent, refused_port() as refused:
        assert Destination({"traces": silent}, asked_for=True).answers()
        assert Destination({"traces": silent.removeprefix("http://")}, asked_for=True).answers()
        assert not Destination({"traces": silent, "logs": refused}, asked_for=True).answers()
    assert not Destination({"traces": "http://localhost:99999999"}, asked_for=True).answers()
    assert not Destination({"traces": "http://[::1"}, asked_for=True).answers()


def test_hints(destination):
    assert "ENABLE_OTLP=false" in destination().hint
    assert "http/protobuf" in destination(OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf").hint
    assert "without http://" in destination(OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4317").hint


def test_headers_come_from_a_file(tmp_path, monkeypatch):
    assert Destination.headers() is None
    (tmp_path / "headers").write_text("Authorization=Bearer a=b==\n\n x-tenant = one\n")
    monkeypatch.setenv("EBPF_BOT_OTLP_HEADERS_FILE", str(tmp_path / "headers"))
    assert Destination.headers() == {"authorization": "Bearer a=b==", "x-tenant": "one"}


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "No such file"), (b"a=b\nhush\n", "line 2"), (b"a=\xff", "ASCII")]
)
def test_a_file_of_headers_that_cannot_be_read_is_named_and_not_shown(
    tmp_path, monkeypatch, content, complaint
):
    path = tmp_path / "headers"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("EBPF_BOT_OTLP_HEADERS_FILE", str(path))
    with pytest.raises(ValueError, match=complaint) as raised:
        Destination.headers()
    assert str(path) in str(raised.value)
    assert "hush" not in str(raised.value)
