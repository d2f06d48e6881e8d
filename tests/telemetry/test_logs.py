"""Log records inside a span name it, and an exporting handler sees more than the console does."""

from __future__ import annotations

import logging

import pytest

from ebpf_bot_core.telemetry.logs import handling, traced_logger


class Kept(logging.Handler):
    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def root():
    """The root logger at WARNING and a handler of it, as the command line sets it up; put back afterwards."""
    root, console = logging.getLogger(), Kept()
    level = root.level
    root.addHandler(console)
    root.setLevel(logging.WARNING)
    yield root, console
    root.removeHandler(console)
    root.setLevel(level)


def test_a_record_inside_a_span_names_it(recorder, caplog):
    log = traced_logger("ebpf_bot_core.test")
    with recorder.tracer_provider.get_tracer("test").start_as_current_span("work"):
        log.error("inside", extra={"own": 1})
    log.error("outside")
    inside, outside = caplog.records
    context = recorder.only("work").context
    assert (inside.trace_id, inside.span_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert inside.own == 1
    assert not hasattr(outside, "trace_id")
    assert not hasattr(outside, "span_id")


def test_what_a_step_logs_names_its_span(pipeline, recorder, caplog):
    with caplog.at_level(logging.DEBUG):
        running = pipeline()
        for _ in range(3):
            running.step()
    spans = recorder.spans("unified_pipeline_decision")
    said = [record for record in caplog.records if record.name == "ebpf_bot_core.pipeline"]
    assert [(record.trace_id, record.span_id) for record in said] == [
        (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") for span in spans
    ]
    # The first step, and those in which a verdict changed, are worth exporting.
    assert [record.levelname for record in said] == ["INFO", "DEBUG", "DEBUG"]


def test_a_handler_gets_more_than_the_console(root):
    _, console = root
    log, extra = logging.getLogger("ebpf_bot_somebody"), Kept()
    with handling(extra, logging.INFO):
        log.debug("for nobody")
        log.info("to export")
        log.warning("for all")
    assert [record.getMessage() for record in extra.records] == ["to export", "for all"]
    assert [record.getMessage() for record in console.records] == ["for all"]


def test_where_the_console_shows_more_the_handler_gets_as_much(root):
    logger, console = root
    logger.setLevel(logging.DEBUG)
    extra = Kept()
    with handling(extra, logging.INFO):
        logging.getLogger("x").debug("detail")
    assert len(extra.records) == len(console.records) == 1


def test_a_console_that_shows_less_still_does(root):
    _, console = root
    console.setLevel(logging.ERROR)
    with handling(Kept(), logging.INFO):
        logging.getLogger("x").warning("for the handler alone")
    assert console.records == []


def test_all_is_as_before_afterwards(root):
    logger, console = root
    extra, handlers = Kept(), logger.handlers[:]
    with pytest.raises(RuntimeError), handling(extra, logging.INFO):
        raise RuntimeError
    assert (logger.handlers, logger.level, console.level) == (handlers, logging.WARNING, logging.NOTSET)
    logging.getLogger("x").warning("late")
    assert extra.records == []
