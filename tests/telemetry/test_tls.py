"""TLS by the standard variables. A wrong certificate looks like success to the SDK, so arrival is what is asserted."""

from __future__ import annotations

import shutil

import grpc
import pytest

from .authority import Authority
from .otlp_receiver import OtlpReceiver, ebpf_bot, run

RUN = (*run("main"), "--for", "100ms")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl")


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    """Two authorities that do not know each other: the collector's, and another."""
    directory = tmp_path_factory.mktemp("tls")
    return [Authority.new(directory, name) for name in ("theirs", "another")]


def receiver_of(authority, *, asks_clients=False):
    """Return a receiver with a certificate of the authority, which may ask its clients for one as well."""
    key, certificate = authority.sign("collector")
    pair = (key.read_bytes(), certificate.read_bytes())
    root = authority.certificate.read_bytes() if asks_clients else None
    return OtlpReceiver(credentials=grpc.ssl_server_credentials([pair], root, asks_clients))


def test_it_arrives(tmp_path, authorities):
    theirs, _ = authorities
    with receiver_of(theirs) as receiver:
        ended = ebpf_bot(
            *RUN,
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(theirs.certificate),
        )
    assert (ended.status, ended.stderr) == (0, "")
    assert receiver.spans
    assert receiver.metrics
    assert receiver.logs


def test_an_authority_that_did_not_sign_it(tmp_path, authorities):
    theirs, another = authorities
    with receiver_of(theirs) as receiver:
        ended = ebpf_bot(
            *RUN,
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(another.certificate),
        )
    assert ended.status == 0
    assert not receiver.requests
    (warning,) = ended.stderr.splitlines()
    assert f"telemetry was not delivered to {receiver.url}" in warning
    assert "CERTIFICATE_VERIFY_FAILED" in warning


def test_a_certificate_that_is_not_there(tmp_path, authorities):
    theirs, _ = authorities
    with receiver_of(theirs) as receiver:
        ended = ebpf_bot(
            *RUN,
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(tmp_path / "no.pem"),
        )
    assert ended.status == 0
    (warning,) = ended.stderr.splitlines()
    assert "telemetry was not delivered" in warning


def test_clients_that_must_show_a_certificate(tmp_path, authorities):
    theirs, _ = authorities
    key, certificate = theirs.sign("client")
    with receiver_of(theirs, asks_clients=True) as receiver:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(theirs.certificate),
        }
        without = ebpf_bot(*RUN, cwd=tmp_path, **variables)
        refused = len(receiver.requests)
        ended = ebpf_bot(
            *RUN,
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_CLIENT_KEY=str(key),
            OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=str(certificate),
            **variables,
        )
    assert refused == 0
    (warning,) = without.stderr.splitlines()
    assert "telemetry was not delivered" in warning
    assert (ended.status, ended.stderr) == (0, "")
    assert receiver.spans


def test_an_endpoint_without_a_scheme_is_taken_to_speak_tls(tmp_path):
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(*RUN, cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=f"localhost:{receiver.port}")
    assert not receiver.requests
    (warning,) = ended.stderr.splitlines()
    assert "without http:// before it an endpoint is taken to speak TLS" in warning
