"""`ebpf-bot doctor` tries the export, and so sees what a mere connection does not show."""

from __future__ import annotations

import json

from .otlp_receiver import OtlpReceiver, ebpf_bot, refused_port, silent_port


def export_check(tmp_path, **variables):
    """Return what the doctor found of the export; nothing else may be written."""
    ended = ebpf_bot("doctor", "--json", cwd=tmp_path, **variables)
    assert ended.stderr == ""
    (check,) = [check for check in json.loads(ended.stdout)["checks"] if check["subject"] == "OTLP export"]
    return check


def test_a_collector_that_takes_it(tmp_path):
    with OtlpReceiver() as receiver:
        check = export_check(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert (check["ok"], check["found"]) == (True, f"{receiver.url} takes it")
    assert len(receiver.requests) == 3
    assert not receiver.spans


def test_what_only_accepts_connections_is_no_collector(tmp_path):
    with silent_port() as url:
        check = export_check(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert not check["ok"]
    assert check["found"].startswith(f"{url}: DEADLINE_EXCEEDED")
    assert "start a collector" in check["remedy"]


def test_a_signal_that_cannot_be_exported(tmp_path):
    with OtlpReceiver() as receiver, refused_port() as url:
        check = export_check(
            tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=url
        )
    assert not check["ok"]
    assert "UNAVAILABLE" in check["found"]
    assert url in check["found"]


def test_nobody_there(tmp_path):
    with refused_port() as url:
        check = export_check(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert not check["ok"]
    assert not check["needed"]
    assert "UNAVAILABLE" in check["found"]


def test_switched_off(tmp_path):
    check = export_check(tmp_path, ENABLE_OTLP="off")
    assert (check["ok"], check["found"]) == (True, "switched off by ENABLE_OTLP=false")


def test_a_variable_that_cannot_be_read(tmp_path):
    check = export_check(tmp_path, ENABLE_OTLP="true", OTEL_EXPORTER_OTLP_COMPRESSION="zstd")
    assert not check["ok"]
    assert "zstd" in check["found"]
