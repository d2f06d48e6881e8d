"""What the command line exports, seen where it arrives."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ebpf_bot_core import Verdict
from ebpf_bot_core.telemetry import names

from .otlp_receiver import OtlpReceiver, ebpf_bot, plain, run

RUN = run("*")
STEP = "unified_pipeline_decision"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One run, and the receiver that it exported to."""
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            *RUN,
            "--for",
            "500ms",
            cwd=tmp_path_factory.mktemp("run"),
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        )
        yield ended, receiver


def test_the_run_is_as_without(exported):
    ended, _ = exported
    assert (ended.status, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["totals"]["fired"] > 0


def test_all_three_signals_arrive(exported):
    _, receiver = exported
    assert receiver.spans
    assert receiver.metrics
    assert receiver.logs


def test_the_resource_says_who_speaks(exported):
    _, receiver = exported
    resources = receiver.resources()
    assert len(resources) >= 3
    for resource in resources:
        assert resource["service.name"] == "ebpf-coverage-bot"
        assert resource["service.version"]
        assert resource["host.name"]


def test_the_tree_of_spans(exported):
    ended, receiver = exported
    (run,) = json.loads(ended.stdout)["runs"]
    steps = [span for span in receiver.spans if span.name == STEP]
    assert sorted(plain(step.attributes)["ebpf_bot.step"] for step in steps) == [*range(1, run["steps"] + 1)]
    by_id = {span.span_id: span for span in receiver.spans}
    for span in receiver.spans:
        if span.parent_span_id:
            assert by_id[span.parent_span_id].name == STEP
            assert by_id[span.parent_span_id].trace_id == span.trace_id
    first = next(step for step in steps if not step.links)
    assert first.trace_id.hex() == run["trace_id"]
    assert {link.span_id for step in steps for link in step.links} == {first.span_id}
    below = {span.name for span in receiver.spans if span.parent_span_id == first.span_id}
    assert below == {
        "get_coverage",
        "decide_next_probe",
        "inject_probe",
        "receive_signal",
        "store_save_signal",
    }


def test_only_names_of_the_list_arrive(exported):
    _, receiver = exported
    assert {span.name for span in receiver.spans} <= set(names.SPANS)
    for span in receiver.spans:
        assert set(plain(span.attributes)) <= set(names.SPAN_ATTRIBUTES[span.name])
        assert {event.name for event in span.events} == {
            event for event, carrier in names.EVENTS.items() if carrier == span.name
        }


def own(receiver):
    """Return the metrics by name, without those that the SDK's queues have of themselves."""
    return {name: metric for name, metric in receiver.metrics.items() if not name.startswith("otel.sdk.")}


def test_the_queues_of_the_sdk_say_how_they_are(exported):
    _, receiver = exported
    assert set(receiver.metrics) - set(own(receiver)) >= {
        "otel.sdk.processor.span.processed",
        "otel.sdk.processor.span.queue.size",
    }


def test_metrics_by_name_unit_and_kind(exported):
    _, receiver = exported
    arrived = {name: (metric.unit, metric.WhichOneof("data")) for name, metric in own(receiver).items()}
    assert arrived == {
        "ebpf_bot_decisions_total": ("{decision}", "sum"),
        "ebpf_bot_decision_latency_ms": ("{ms}", "histogram"),
        "ebpf_bot_errors_total": ("{error}", "sum"),
        "ebpf_bot_signals_total": ("{signal}", "sum"),
        "ebpf_bot_signals_lost_total": ("{signal}", "sum"),
        "ebpf_bot_coverage_ratio": ("{ratio}", "gauge"),
        "ebpf_bot_probes": ("{probe}", "gauge"),
    }


def test_counters_are_cumulative_and_only_grow(exported):
    _, receiver = exported
    sums = [metric.sum for metric in own(receiver).values() if metric.WhichOneof("data") == "sum"]
    assert len(sums) == 4
    for each in sums:
        assert each.is_monotonic
        assert each.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    histogram = receiver.metrics["ebpf_bot_decision_latency_ms"].histogram
    assert histogram.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert tuple(histogram.data_points[0].explicit_bounds) == names.LATENCY_BOUNDARIES_MS


def test_the_last_values_are_those_of_the_report(exported):
    ended, receiver = exported
    report = json.loads(ended.stdout)
    (ratio,) = receiver.metrics["ebpf_bot_coverage_ratio"].gauge.data_points
    assert ratio.as_double == pytest.approx(report["ratio"], abs=1e-6)
    probes = receiver.metrics["ebpf_bot_probes"].gauge.data_points
    totals: Counter[str] = Counter()
    for point in probes:
        totals[plain(point.attributes)["ebpf_bot.verdict"]] += point.as_int
    reported = {verdict.label: report["totals"][verdict.label] for verdict in Verdict}
    assert (dict(totals), totals.total()) == (reported, report["totals"]["expected"])
    decisions = receiver.metrics["ebpf_bot_decisions_total"].sum.data_points
    assert sum(point.as_int for point in decisions) == report["runs"][0]["steps"]


def test_log_records_lead_to_the_span_they_were_made_in(exported):
    _, receiver = exported
    steps = {span.span_id: span.trace_id for span in receiver.spans if span.name == STEP}
    assert receiver.logs
    for record in receiver.logs:
        assert steps[record.span_id] == record.trace_id
        assert record.body.string_value.startswith("step ")
        assert record.severity_text == "INFO"
        assert plain(record.attributes) == {}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OTEL_SERVICE_NAME": "mine"}, {"service.name": "mine"}),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs"}, {"service.name": "theirs"}),
        (
            {"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs,team=shop"},
            {"service.name": "mine", "team": "shop"},
        ),
        (
            {"OTEL_SERVICE_NAME": "", "OTEL_RESOURCE_ATTRIBUTES": "host.name=node-1"},
            {"service.name": "ebpf-coverage-bot", "host.name": "node-1"},
        ),
    ],
)
def test_variables_say_who_speaks(tmp_path, variables, expected):
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            *RUN, "--for", "100ms", cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **variables
        )
    assert ended.stderr == ""
    assert receiver.resources()
    for resource in receiver.resources():
        assert expected.items() <= resource.items()


@pytest.mark.parametrize("off", [{"ENABLE_OTLP": "false"}, {"OTEL_SDK_DISABLED": "true"}])
def test_switched_off_nothing_arrives(tmp_path, off):
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            *RUN, "--for", "100ms", cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **off
        )
    assert (ended.status, ended.stderr, receiver.requests) == (0, "", [])
    assert json.loads(ended.stdout)["runs"][0]["trace_id"] is None


def test_one_signal_can_be_switched_off(tmp_path):
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            *RUN,
            "--for",
            "100ms",
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_LOGS_EXPORTER="none",
        )
    assert ended.stderr == ""
    assert receiver.spans
    assert receiver.metrics
    assert not receiver.logs


def test_each_signal_can_have_its_own_endpoint(tmp_path):
    with OtlpReceiver() as one, OtlpReceiver() as other:
        ended = ebpf_bot(
            *RUN, "--for", "100ms",
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=one.url,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=other.url,
        )  # fmt: skip
    assert ended.stderr == ""
    assert (bool(one.spans), bool(one.metrics), bool(one.logs)) == (True, False, True)
    assert (bool(other.spans), bool(other.metrics), bool(other.logs)) == (False, True, False)


def test_a_covered_command_inherits_nothing_of_ours(tmp_path):
    """What is set for our own SDK would rename, or silence, a service that is covered."""
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            *RUN, "--", "env",
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        )  # fmt: skip
    assert receiver.spans
    told = [line for line in ended.stderr.splitlines() if line.startswith(("OTEL_", "GRPC_"))]
    assert told == [f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.url}"]


def test_reading_a_store_is_exported(tmp_path):
    store = f"sqlite:{tmp_path}/coverage.db"
    arguments = [
        "run",
        "--expect",
        "uprobe:/usr/bin/checkout:main",
        "--backend",
        "simulated",
        "--for",
        "100ms",
    ]
    assert ebpf_bot(*arguments, "--store", store, cwd=tmp_path, ENABLE_OTLP="false").status == 0
    with OtlpReceiver() as receiver:
        ended = ebpf_bot("report", "--store", store, cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    assert (ended.status, ended.stderr) == (0, "")
    (span,) = receiver.spans
    assert span.name == "store_load_signal"
    assert plain(span.attributes)["ebpf_bot.plugin.name"] == "sqlite"


def test_headers_arrive_and_compressed_exports_are_understood(tmp_path):
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            *RUN,
            "--for",
            "100ms",
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20secret",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        )
    assert ended.stderr == ""
    assert receiver.spans
    assert receiver.metadata["authorization"] == "Bearer secret"


def test_a_run_that_fails_is_exported_too(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        """
        expect = [{ probes = ["uprobe:/usr/bin/checkout:*"] }]
        [plan]
        name = "fails"
        [stages]
        injector = { name = "simulated", fail_at = { receive = 2 } }
        store = "memory"
        """
    )
    with OtlpReceiver() as receiver:
        ended = ebpf_bot(
            "run", str(plan), "--for", "10s", cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url
        )
    assert ended.status == 2
    assert "ring buffer cannot be read" in ended.stderr
    assert "telemetry" not in ended.stderr
    failed = {span.name for span in receiver.spans if span.status.code == Status.STATUS_CODE_ERROR}
    assert failed == {STEP, "receive_signal"}
    errors = receiver.metrics["ebpf_bot_errors_total"].sum.data_points
    counted = [(plain(point.attributes), point.as_int) for point in errors if point.attributes]
    assert counted == [({"error.type": "BackendError", "ebpf_bot.stage": "receive_signal"}, 1)]
