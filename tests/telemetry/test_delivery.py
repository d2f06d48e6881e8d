"""What became of each export: nothing that failed goes unsaid, and nothing is said twice."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from ebpf_bot_core.telemetry.delivery import Delivery


def test_what_was_delivered_did_not_fail():
    delivery = Delivery()
    assert delivery.attempt("traces", lambda: SpanExportResult.SUCCESS) is SpanExportResult.SUCCESS
    assert (delivery.failed, delivery.is_partial) == ([], True)


def test_what_failed_is_named():
    delivery = Delivery()
    delivery.attempt("traces", lambda: SpanExportResult.FAILURE)
    delivery.attempt("metrics", lambda: MetricExportResult.FAILURE)
    assert (delivery.failed, delivery.is_partial) == (["metrics", "traces"], False)


def test_an_exporter_that_raises_has_failed():
    delivery = Delivery()

    def encode():
        raise UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")

    with pytest.raises(UnicodeEncodeError):
        delivery.attempt("logs", encode)
    assert delivery.failed == ["logs"]
    assert "surrogates not allowed" in delivery.reason


def test_a_later_success_does_not_hide_an_earlier_failure():
    delivery = Delivery()
    delivery.attempt("traces", lambda: SpanExportResult.FAILURE)
    delivery.attempt("traces", lambda: SpanExportResult.SUCCESS)
    assert (delivery.failed, delivery.is_partial) == (["traces"], True)


def test_the_reason_is_the_heart_of_what_the_sdk_says():
    delivery = Delivery()
    delivery.complain(
        "Failed to export traces to localhost:4317, error code: StatusCode.UNAVAILABLE, error details: no\nroute"
    )
    assert delivery.reason == "UNAVAILABLE: no route"


def test_a_reason_of_another_form_is_kept_as_it_is_but_short():
    delivery = Delivery()
    delivery.complain("what no version has said yet " + "x" * 1000)
    assert delivery.reason.startswith("what no version has said yet")
    assert len(delivery.reason) == 300


def test_giving_up_keeps_the_reason_that_there_was():
    delivery = Delivery()
    delivery.complain("refused")
    delivery.give_up(["logs"], "no answer")
    # What is heard once the channels are closed is our own doing.
    delivery.complain("cancelled")
    assert (delivery.failed, delivery.reason) == (["logs"], "refused")


def test_giving_up_without_a_reason():
    delivery = Delivery()
    delivery.give_up(["logs"], "no answer")
    assert delivery.reason == "no answer"


@pytest.fixture
def logger():
    """A logger that nobody else uses, put back afterwards."""
    logger = logging.getLogger("telemetry-test-of-delivery")
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def test_complaints_are_taken_down_and_not_shown(logger, caplog):
    delivery = Delivery()
    delivery.listen(logger.name)
    logger.getChild("exporter").error("error code: StatusCode.INTERNAL, error details: %s", "full")
    logger.warning("will try again")
    assert delivery.reason == "INTERNAL: full"
    assert caplog.records == []


def test_where_debug_messages_are_shown_complaints_are_too(logger, caplog):
    with caplog.at_level(logging.DEBUG):
        Delivery().listen(logger.name)
        logger.warning("will try again")
    assert [record.getMessage() for record in caplog.records] == ["will try again"]


UNAVAILABLE = "Failed to export traces to x:1, error code: StatusCode.UNAVAILABLE, error details: nobody"


def exports(delivery, *complaints):
    """Return an export that fails with each of these complaints in turn, and then succeeds; and its calls."""
    calls = []

    def export():
        calls.append(None)
        if len(calls) > len(complaints):
            return SpanExportResult.SUCCESS
        delivery.complain(complaints[len(calls) - 1])
        return SpanExportResult.FAILURE

    return export, calls


def test_what_nobody_takes_now_is_offered_again_and_has_not_failed():
    delivery = Delivery()
    export, calls = exports(delivery, UNAVAILABLE)
    assert delivery.insist("traces", export) is SpanExportResult.SUCCESS
    assert (len(calls), delivery.failed, delivery.delivered) == (2, [], ["traces"])


def test_a_failure_that_the_sdk_does_not_log_again_is_still_the_same_failure():
    delivery = Delivery()
    export, calls = exports(delivery, UNAVAILABLE, "")
    assert delivery.insist("traces", export) is SpanExportResult.SUCCESS
    assert len(calls) == 3


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNAUTHENTICATED", "UNIMPLEMENTED"])
def test_what_is_refused_for_good_is_not_offered_again(code):
    delivery = Delivery()
    export, calls = exports(delivery, UNAVAILABLE.replace("UNAVAILABLE", code))
    assert delivery.insist("traces", export) is SpanExportResult.FAILURE
    assert (len(calls), delivery.failed) == (1, ["traces"])
    assert delivery.reason == f"{code}: nobody"


def test_a_failure_that_is_not_logged_because_another_signal_had_the_same():
    delivery = Delivery()
    delivery.complain(UNAVAILABLE.replace("traces", "logs"))
    export, calls = exports(delivery, "")
    assert delivery.insist("traces", export) is SpanExportResult.SUCCESS
    assert len(calls) == 2


def test_what_was_refused_for_good_is_so_whatever_another_signal_was_refused_for():
    delivery = Delivery()
    export, calls = exports(delivery, UNAVAILABLE.replace("UNAVAILABLE", "INVALID_ARGUMENT"))
    delivery.complain(UNAVAILABLE.replace("traces", "logs"))
    assert delivery.insist("traces", export) is SpanExportResult.FAILURE
    assert len(calls) == 1


def test_at_the_end_it_is_offered_once_more():
    delivery = Delivery()
    delivery.hurry()
    export, calls = exports(delivery, *[UNAVAILABLE] * 3)
    assert delivery.insist("traces", export) is SpanExportResult.FAILURE
    assert (len(calls), delivery.failed) == (1, ["traces"])
