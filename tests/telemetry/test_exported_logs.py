"""What becomes of a log record on its way to the collector."""

from __future__ import annotations

import logging
import sys

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from ebpf_bot_core.telemetry.log_handler import ExportingHandler


@pytest.fixture
def exported():
    """A handler, and a function that returns what it has exported."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    handler = ExportingHandler(provider, without=("opentelemetry", "grpc"))
    return handler, lambda: [each.log_record for each in exporter.get_finished_logs()]


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


@pytest.mark.parametrize(
    ("level", "number", "text"),
    [
        (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
        (logging.INFO, SeverityNumber.INFO, "INFO"),
        (logging.INFO + 2, SeverityNumber.INFO3, "Level 22"),
        (logging.INFO + 9, SeverityNumber.INFO4, "Level 29"),
        (logging.WARNING, SeverityNumber.WARN, "WARN"),
        (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
        (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
        (1000, SeverityNumber.FATAL4, "Level 1000"),
        (5, SeverityNumber.UNSPECIFIED, "Level 5"),
    ],
)
def test_levels(exported, level, number, text):
    handler, logs = exported
    handler.handle(logging.LogRecord("ebpf_bot", level, __file__, 1, "x", (), None))
    (log,) = logs()
    assert (log.severity_number, log.severity_text) == (number, text)


def test_an_exception_is_exported_with_its_trace(exported):
    handler, logs = exported

    def fail():
        raise OSError("/opt/caf\udce9: gone")

    original = record("failed")
    try:
        fail()
    except OSError:
        original.exc_info = sys.exc_info()
    handler.handle(original)
    attributes = dict(logs()[0].attributes)
    assert attributes["exception.type"] == "OSError"
    assert attributes["exception.message"] == "/opt/caf\\udce9: gone"
    assert "test_an_exception_is_exported_with_its_trace" in attributes["exception.stacktrace"]


def test_extra_fields_that_cannot_be_encoded_are_escaped(exported):
    handler, logs = exported
    handler.handle(record("x", probe="uprobe:/opt/caf\udce9:f", hits=3))
    assert dict(logs()[0].attributes) == {"probe": "uprobe:/opt/caf\\udce9:f", "hits": 3}
