"""What becomes of a log record on its way to the collector."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from ebpf_bot_core.telemetry.sdk import _ExportingHandler


@pytest.fixture
def exported():
    """A handler, and a function that returns what it has exported."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return _ExportingHandler(provider), lambda: [each.log_record for each in exporter.get_finished_logs()]


def record(message, *arguments, name="ebpf_bot_somebody", **extra):
    made = logging.LogRecord(name, logging.INFO, __file__, 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


def test_a_message_is_exported_whole(exported):
    handler, logs = exported
    handler.handle(record("%d of %s", 3, "four", probe="kprobe:f"))
    (log,) = logs()
    assert (log.body, dict(log.attributes)) == ("3 of four", {"probe": "kprobe:f"})


def test_the_ids_are_not_exported_twice(exported):
    handler, logs = exported
    handler.handle(record("x", trace_id="0" * 32, span_id="0" * 16))
    assert dict(logs()[0].attributes) == {}


def test_what_cannot_be_encoded_is_escaped(exported):
    handler, logs = exported
    handler.handle(record("cannot read %s", "/opt/caf\udce9"))
    assert logs()[0].body == "cannot read /opt/caf\\udce9"


def test_the_record_itself_stays_as_it_is(exported):
    handler, _ = exported
    original = record("%d", 1, trace_id="0" * 32)
    before = dict(vars(original))
    handler.handle(original)
    assert vars(original) == before


@pytest.mark.parametrize("name", ["opentelemetry.exporter.otlp", "opentelemetry", "grpc._channel"])
def test_the_exporters_complaints_are_not_exported(exported, name):
    handler, logs = exported
    handler.handle(record("Failed to export", name=name))
    handler.handle(record("mine", name="opentelemetry_of_mine"))
    assert [log.body for log in logs()] == ["mine"]


def test_a_record_that_cannot_be_formatted_does_not_break_who_logs(exported, capsys):
    handler, logs = exported
    handler.handle(record("%d", "no number"))
    assert logs() == []
    assert "Logging error" in capsys.readouterr().err
