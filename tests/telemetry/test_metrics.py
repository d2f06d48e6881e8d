"""The metrics: exactly these names, units and kinds, there before anything has happened, and right afterwards."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Sum

from ebpf_bot_core import UnifiedPipeline, Verdict
from ebpf_bot_core.telemetry import names

from .recorder import simulated_plan
from .third_party import OwnReceiver

# Spelled out once more, so that renaming one in names.py is seen to rename it at every Prometheus.
UNITS = {
    "ebpf_bot_decisions_total": "{decision}",
    "ebpf_bot_errors_total": "{error}",
    "ebpf_bot_signals_total": "{signal}",
    "ebpf_bot_signals_lost_total": "{signal}",
    "ebpf_bot_decision_latency_ms": "{ms}",
    "ebpf_bot_coverage_ratio": "{ratio}",
    "ebpf_bot_probes": "{probe}",
    "ebpf_bot_overhead_ratio": "{ratio}",
}
COUNTERS = {name for name in UNITS if name.endswith("_total")}


def test_counters_stand_at_0_before_anything_has_happened(pipeline, recorder):
    pipeline()
    assert {name: recorder.values(name) for name in recorder.metrics()} == {
        name: {(): 0} for name in COUNTERS
    }


def test_names_and_units(pipeline, recorder):
    pipeline().step()
    recorder.instruments().cost(0.004)
    assert {name: metric.unit for name, metric in recorder.metrics().items()} == UNITS
    assert {name: metric.unit for name, metric in names.METRICS.items()} == UNITS


def test_kinds(pipeline, recorder):
    pipeline().step()
    metrics = recorder.metrics()
    kinds = {names.METRICS[name].kind: set() for name in metrics}
    for name, metric in metrics.items():
        kinds[names.METRICS[name].kind].add(type(metric.data))
    assert kinds == {"counter": {Sum}, "gauge": {Gauge}, "histogram": {Histogram}}
    for name in COUNTERS:
        assert metrics[name].data.is_monotonic
        assert metrics[name].data.aggregation_temporality is AggregationTemporality.CUMULATIVE


def test_every_metric_is_described(pipeline, recorder):
    pipeline().step()
    for name, metric in recorder.metrics().items():
        assert metric.description == names.METRICS[name].description


def test_decisions_are_counted_and_timed_by_strategy(pipeline, recorder):
    running = pipeline()
    for _ in range(3):
        running.step()
    strategy = (("orchestrator.strategy", "InOrder"),)
    assert recorder.values("ebpf_bot_decisions_total") == {(): 0, strategy: 3}
    (point,) = recorder.metrics()["ebpf_bot_decision_latency_ms"].data.data_points
    assert dict(point.attributes) == dict(strategy)
    assert point.count == 3
    assert 0 < point.sum < 60_000


def test_buckets_of_the_latency(pipeline, recorder):
    pipeline().step()
    (point,) = recorder.metrics()["ebpf_bot_decision_latency_ms"].data.data_points
    assert point.explicit_bounds == names.LATENCY_BOUNDARIES_MS
    assert list(point.explicit_bounds) == sorted(set(point.explicit_bounds))


def test_an_exemplar_leads_from_the_latency_to_the_step(pipeline, recorder):
    pipeline().step()
    (point,) = recorder.metrics()["ebpf_bot_decision_latency_ms"].data.data_points
    (exemplar,) = point.exemplars
    assert exemplar.span_id == recorder.only("unified_pipeline_decision").context.span_id


def test_signals_are_counted_as_they_were_received(pipeline, recorder):
    running = pipeline()
    running.step()
    running.step()
    # Two for each of three probes, then for the one that is left; what processors drop was received all the same.
    assert recorder.values("ebpf_bot_signals_total") == {(): 8}
    assert recorder.values("ebpf_bot_signals_lost_total") == {(): 2}


def test_coverage_has_a_ratio_and_a_gauge_for_each_verdict(recorder):
    main, refund = "uprobe:/usr/bin/checkout:main", "uprobe:/usr/bin/checkout:refund_order"
    imported, absent = "uprobe:/usr/bin/checkout:strlen", "uprobe:/usr/bin/checkout:absent"
    plan = simulated_plan(main, refund, imported, absent, faults={absent: "not-found"})
    UnifiedPipeline(plan, **recorder.providers).step()
    assert recorder.values("ebpf_bot_coverage_ratio") == {(): pytest.approx(1 / 3)}
    probes = recorder.values("ebpf_bot_probes")
    assert {attributes: count for attributes, count in probes.items() if count} == {
        rung("missing", "not-found"): 1,
        rung("excluded", "imported"): 1,
        rung("silent", "not-called"): 1,
        rung("fired"): 1,
    }
    # A verdict that nothing has is there, at 0.
    assert {rung(verdict.label) for verdict in Verdict} <= set(probes)


def rung(verdict, reason=""):
    return (*([("ebpf_bot.reason", reason)] if reason else []), ("ebpf_bot.verdict", verdict))


def test_a_rung_that_all_have_left_is_empty(pipeline, recorder, stages):
    running = pipeline(receiver=OwnReceiver(hits=0), processors=[])
    running.step()
    (silent,) = [at for at, count in recorder.values("ebpf_bot_probes").items() if count]
    stages["injector"].injection.fired_between = [0, 1, 2]
    running.finish()
    after = recorder.values("ebpf_bot_probes")
    assert (after[silent], after[rung("fired")]) == (0, 3)


def test_no_ratio_where_nothing_could_be_expected_to_fire(recorder):
    plan = simulated_plan("uprobe:/usr/bin/checkout:strlen")
    UnifiedPipeline(plan, **recorder.providers).step()
    assert "ebpf_bot_coverage_ratio" not in recorder.metrics()
    assert recorder.values("ebpf_bot_probes")[rung("excluded", "imported")] == 1


def test_gauges_end_where_the_report_does(pipeline, recorder, stages):
    """What fired after the last step is taken in at the end, and must not be missing from the gauges."""
    running = pipeline(receiver=OwnReceiver(hits=0), processors=[])
    running.step()
    assert recorder.values("ebpf_bot_coverage_ratio") == {(): 0}
    stages["injector"].injection.fired_between = [0, 1, 2]
    assert running.finish().ratio == 1
    assert recorder.values("ebpf_bot_coverage_ratio") == {(): 1}


def test_overhead_is_recorded_where_a_backend_estimates_it(recorder):
    recorder.instruments().cost(0.004)
    assert recorder.values("ebpf_bot_overhead_ratio") == {(): 0.004}


def test_the_scope_names_the_core_and_its_version(pipeline, recorder):
    pipeline().step()
    scope = recorder.only("get_coverage").instrumentation_scope
    assert scope.name == "ebpf_bot_core"
    assert scope.version
