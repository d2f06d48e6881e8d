"""The collector that others may reach: who has the right certificates and a token gets in, all others hear why not."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import urllib.request
from contextlib import contextmanager

import pytest

from ..telemetry.otlp_receiver import ebpf_bot, run
from .local_stack import _messages
from .programs import ROOT, Program, eventually, free_ports, program, rewritten

RUN = (*run("main"), "--for", "100ms")
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl")


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Two authorities, `ca` and `other`, and three certificates of the first one."""
    at = tmp_path_factory.mktemp("tls")
    for name in ("ca", "other"):
        openssl(
            "req", "-x509", *KEY, "-keyout", at / f"{name}.key", "-out", at / f"{name}.pem", "-days", 2,
            "-subj", f"/CN={name}",
        )  # fmt: skip
    for name, host, days in (
        ("good", "localhost", 2),
        ("elsewhere", "elsewhere", 2),
        ("expired", "localhost", -1),
    ):
        (at / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
        openssl(
            "req", *KEY, "-keyout", at / f"{name}.key", "-out", at / f"{name}.csr", "-subj", f"/CN={host}"
        )
        openssl(
            "x509", "-req", "-in", at / f"{name}.csr", "-out", at / f"{name}.pem", "-days", days,
            "-extfile", at / f"{name}.ext", "-CA", at / "ca.pem", "-CAkey", at / "ca.key", "-CAcreateserial",
        )  # fmt: skip
    (at / "tokens").write_text("new-token # since today\nold-token\n")
    (at / "headers").write_text("authorization=Bearer new-token\n")
    (at / "wrong-headers").write_text("authorization=Bearer stolen-token\n")
    return at


class Production:
    def __init__(self, authority, certificate, directory):
        otlp, shown, health, own, jaeger = free_ports(5)
        self.jaeger = f"localhost:{jaeger}"
        self.url = f"https://localhost:{otlp}"
        self.metrics_url = f"https://localhost:{shown}/metrics"
        self.health_url = f"http://127.0.0.1:{health}"
        self.logs = directory / "logs.json"
        self.config = directory / "collector.yaml"
        self.config.write_text(
            rewritten(
                ROOT / "otel-collector-production.yaml",
                {
                    "0.0.0.0:4317": f"127.0.0.1:{otlp}",
                    "0.0.0.0:8889": f"127.0.0.1:{shown}",
                    "127.0.0.1:13133": f"127.0.0.1:{health}",
                    "port: 8888": f"port: {own}",
                    "${env:JAEGER_ENDPOINT}": self.jaeger,
                    "/etc/otel/tls/collector": authority / certificate,
                    "/etc/otel/tls/ca.pem": authority / "ca.pem",
                    "/etc/otel/tokens": authority / "tokens",
                    "/var/lib/otel": directory / "queue",
                    "/var/log/otel/logs.json": self.logs,
                },
            )
        )

    @property
    def log_records(self):
        return list(_messages(self.logs))


@contextmanager
def production(authority, directory, certificate="good"):
    """Run the production collector with one of the certificates."""
    made = Production(authority, certificate, directory)
    words = (program("otelcol"), "--config", made.config)
    with Program(*words, log=directory / "log", ready=made.health_url, cwd=directory):
        yield made


def send(collector, authority, cwd, **variables):
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority / "ca.pem"),
        "EBPF_BOT_OTLP_HEADERS_FILE": str(authority / "headers"),
        **variables,
    }
    return ebpf_bot(*RUN, cwd=cwd, **{name: value for name, value in given.items() if value})


def test_with_the_right_certificate_and_token_it_arrives(authority, tmp_path):
    with production(authority, tmp_path) as collector:
        ended = send(collector, authority, tmp_path)
        assert (ended.status, ended.stderr) == (0, "")
        assert eventually(lambda: collector.log_records)
        trusted = ssl.create_default_context(cafile=str(authority / "ca.pem"))
        with urllib.request.urlopen(collector.metrics_url, context=trusted) as page:
            assert "ebpf_bot_decisions_total" in page.read().decode()
        old = send(
            collector, authority, tmp_path, EBPF_BOT_OTLP_HEADERS_FILE="",
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20old-token",
        )  # fmt: skip
        assert (old.status, old.stderr) == (0, "")


# What is wrong: the collector's certificate, what is set otherwise, and what the warning says.
WRONG = {
    "not TLS at all": ("good", {"plain": "1"}, "UNAVAILABLE"),
    "an authority that did not sign it": (
        "good",
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "other.pem"},
        "CERTIFICATE_VERIFY_FAILED",
    ),
    "a certificate for another host": ("elsewhere", {}, "localhost"),
    "a certificate that has expired": ("expired", {}, "CERTIFICATE_VERIFY_FAILED"),
    "a token that nobody gave out": (
        "good",
        {"EBPF_BOT_OTLP_HEADERS_FILE": "wrong-headers"},
        "UNAUTHENTICATED",
    ),
    "no token": ("good", {"EBPF_BOT_OTLP_HEADERS_FILE": ""}, "UNAUTHENTICATED"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_and_never_taken_for_success(authority, tmp_path, wrong):
    certificate, changed, reason = WRONG[wrong]
    with production(authority, tmp_path, certificate) as collector:
        variables = {name: value and str(authority / value) for name, value in changed.items()}
        if variables.pop("plain", ""):
            variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url.replace("https", "http")
        ended = send(collector, authority, tmp_path, **variables)
        arrived = collector.log_records
    assert (ended.status, arrived) == (0, [])
    (warning,) = ended.stderr.splitlines()
    assert "telemetry was not delivered to" in warning
    assert reason in warning
    assert "stolen" not in warning


BEHIND = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "{address}", tls: {{cert_file: "{pair}.pem", key_file: "{pair}.key"}}}}}}}}
exporters:
  file: {{path: "{spans}", flush_interval: 100ms}}
extensions:
  health_check: {{endpoint: "127.0.0.1:{health}"}}
service:
  extensions: [health_check]
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
  telemetry: {{metrics: {{level: none}}}}
"""


def test_what_jaeger_did_not_take_survives_a_restart(authority, tmp_path):
    """A second collector stands for Jaeger; it comes up only when the first has been restarted."""
    made = Production(authority, "good", tmp_path)
    words = (program("otelcol"), "--config", made.config)
    first = Program(*words, log=tmp_path / "log", ready=made.health_url, cwd=tmp_path)
    with first:
        ended = send(made, authority, tmp_path)
        assert ended.stderr == ""
    (health,) = free_ports(1)
    spans = tmp_path / "spans.json"
    config = BEHIND.format(address=made.jaeger, pair=authority / "good", spans=spans, health=health)
    (tmp_path / "behind.yaml").write_text(config)
    behind = Program(
        program("otelcol"), "--config", tmp_path / "behind.yaml",
        log=tmp_path / "behind.log", ready=f"http://127.0.0.1:{health}", cwd=tmp_path,
    )  # fmt: skip
    trace_id = json.loads(ended.stdout)["runs"][0]["trace_id"]
    with first, behind:
        eventually(lambda: spans.exists() and trace_id in spans.read_text())
