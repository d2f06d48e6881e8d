"""What a run of ebpf-bot has sent, at the far end: every span, every log record, and how they belong together."""

from __future__ import annotations

import re

from ebpf_bot_core.telemetry import names

from .local_stack import plain
from .programs import eventually


def test_the_first_trace_of_a_run_has_its_whole_hierarchy(stack, sent):
    trace_id = sent.good["runs"][0]["trace_id"]
    spans = eventually(lambda: stack.trace(trace_id))
    (root,) = [span for span in spans if not span.get("parentSpanId")]
    assert root["name"] == names.STEP
    children = sorted(
        (span for span in spans if span.get("parentSpanId") == root["spanId"]),
        key=lambda span: int(span["startTimeUnixNano"]),
    )
    assert [span["name"] for span in children] == [
        names.GET_COVERAGE, names.DECIDE, names.INJECT, names.RECEIVE, names.STORE_SAVE,
    ]  # fmt: skip
    assert len(spans) == 1 + len(children)


def test_every_step_of_the_run_arrived(stack, sent):
    run = sent.good["runs"][0]

    def steps():
        spans = [plain(span["attributes"]) for span in stack.spans() if span["name"] == names.STEP]
        return sorted(span[names.STEP_NUMBER] for span in spans if span[names.RUN_ID] == run["id"])

    assert eventually(lambda: len(steps()) >= run["steps"])
    assert steps() == list(range(1, run["steps"] + 1))


def test_every_span_and_event_of_the_contract_arrived(stack, sent):
    def seen():
        return {span["name"] for span in stack.spans() if span["scope"]["name"] == names.SCOPE}

    assert eventually(lambda: seen() >= set(names.SPANS))
    assert seen() == set(names.SPANS)
    events = {(event["name"], span["name"]) for span in stack.spans() for event in span.get("events", ())}
    assert events == set(names.EVENTS.items())


def test_spans_carry_the_attributes_of_the_contract(stack, sent):
    trace_id = sent.good["runs"][0]["trace_id"]
    for span in eventually(lambda: stack.trace(trace_id)):
        assert set(plain(span["attributes"])) == set(names.SPAN_ATTRIBUTES[span["name"]]), span["name"]
        assert span["scope"]["name"] == names.SCOPE
        assert span["resource"]["service.name"] == names.SERVICE_NAME
        assert span["resource"]["service.instance.id"]


def test_a_stage_that_failed_is_a_span_that_failed(stack, sent):
    assert sent.bad.status == 2
    failed = eventually(lambda: [span for span in stack.spans() if span.get("status", {}).get("code") == 2])
    assert {span["name"] for span in failed} == {names.STEP, names.RECEIVE}
    assert {plain(span["attributes"])["error.type"] for span in failed} == {"BackendError"}


def test_a_log_line_is_found_by_the_id_of_its_trace(stack, sent):
    trace_id = sent.good["runs"][0]["trace_id"]

    def lines():
        return [record for record in stack.log_records() if record["traceId"] == trace_id]

    (record,) = eventually(lines)
    (step,) = [span for span in stack.trace(trace_id) if span["name"] == names.STEP]
    assert re.fullmatch("[0-9a-f]{32}", record["traceId"])
    assert re.fullmatch("[0-9a-f]{16}", record["spanId"])
    assert record["spanId"] == step["spanId"]
    assert record["body"]["stringValue"].startswith("step 1: ")
    assert record["severityText"] == "INFO"


def test_every_log_record_names_a_span_that_arrived(stack, sent):
    spans = {(span["traceId"], span["spanId"]) for span in stack.spans()}
    records = [(record["traceId"], record["spanId"]) for record in stack.log_records()]
    assert records
    assert set(records) <= spans


def test_the_log_file_can_be_read_by_its_group(stack, sent):
    assert stack.logs.stat().st_mode & 0o777 == 0o640
