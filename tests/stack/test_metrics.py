"""The metrics at the collector's 8889 and in Prometheus, and every expression that looks at them."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from ebpf_bot_core.telemetry import names

from .local_stack import LocalStack
from .programs import ROOT, eventually, get

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
JOB = f'job="{names.SERVICE_NAME}"'
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
RULES = yaml.safe_load((ROOT / "prometheus" / "ebpf-bot.rules.yml").read_text())
# Spelled out: these are what users' own queries hold on to.
THREE = {
    "ebpf_bot_decisions_total",
    "ebpf_bot_decision_latency_ms_bucket",
    "ebpf_bot_decision_latency_ms_sum",
    "ebpf_bot_decision_latency_ms_count",
    "ebpf_bot_errors_total",
}


@pytest.fixture(scope="module")
def shown(stack, sent):
    """The samples that the collector shows, by name; and the whole page, in OpenMetrics."""
    page = get(stack.metrics_url, OPEN_METRICS)
    return set(re.findall(r"^(ebpf_bot_\w+)\{", page, re.MULTILINE)), page


def series(stack: LocalStack, name: str) -> list[dict]:
    """Return the series of a metric, once Prometheus has scraped it."""
    return eventually(lambda: stack.query(f"{name}{{{JOB}}}"))


def samples_of(metric: names.Metric) -> set[str]:
    ends = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
    return {f"{metric.name}{end}" for end in ends}


def test_names_at_the_collector(shown):
    samples, _ = shown
    assert samples == {sample for metric in names.METRICS.values() for sample in samples_of(metric)}
    assert samples > THREE


def test_kind_and_help_at_the_collector(shown):
    _, page = shown
    for metric in names.METRICS.values():
        # OpenMetrics calls a counter's family by its name without the suffix.
        family = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        assert f"# TYPE {family} {metric.kind}\n" in page
        assert f"# HELP {family} {metric.description}\n" in page


def test_names_in_prometheus(stack, sent):
    assert eventually(lambda: set(stack.ask("label/__name__/values")) >= THREE)


@pytest.mark.parametrize("metric", names.METRICS.values(), ids=lambda metric: metric.name)
def test_kind_and_help_in_prometheus(stack, sent, metric):
    for sample in samples_of(metric):
        series(stack, sample)
    name = metric.name
    family = name.removesuffix("_total")
    known = eventually(lambda: stack.ask("metadata", metric=name) or stack.ask("metadata", metric=family))
    ((meta,),) = known.values()
    assert (meta["type"], meta["help"]) == (metric.kind, metric.description)


@pytest.mark.parametrize("metric", names.METRICS.values(), ids=lambda metric: metric.name)
def test_labels_are_the_attributes_and_who_sent_it(stack, sent, metric):
    allowed = {name.replace(".", "_") for name in metric.attributes}
    found = {label for each in series(stack, min(samples_of(metric))) for label in each["metric"]}
    assert allowed <= found | {"error_type"}
    ours = {label for label in found if label.startswith(("ebpf_bot", "orchestrator", "error"))}
    assert ours <= allowed
    assert {"host_name", "instance", "service_version"} <= found


def test_counters_are_cumulative(stack, sent):
    """A delta would fall back to what the last second brought."""
    expression = f'ebpf_bot_decisions_total{{{JOB}, orchestrator_strategy="priority"}}'
    steps = sent.good["runs"][0]["steps"]
    assert steps in [float(each["value"][1]) for each in eventually(lambda: stack.query(expression))]
    assert all(float(each["value"][1]) == 0 for each in stack.query(f"resets({expression}[5m])"))


def test_errors_are_there_at_0(stack, sent):
    values = [float(each["value"][1]) for each in series(stack, "ebpf_bot_errors_total")]
    assert 0 in values
    failed = stack.query(f'ebpf_bot_errors_total{{{JOB}, error_type="BackendError"}}')
    assert {each["metric"]["ebpf_bot_stage"] for each in failed} == {"receive_signal"}


def test_an_exemplar_leads_to_a_trace_that_arrived(stack, sent):
    def exemplars():
        found = stack.ask(
            "query_exemplars", query="ebpf_bot_decision_latency_ms_bucket", start=0, end=4102444800
        )
        return {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}

    traces = {span["traceId"] for span in stack.spans()}
    assert eventually(exemplars) & traces


def expressions() -> dict[str, str]:
    """Return every expression of the dashboards, and of each alert what it compares, by where it stands."""
    found = {}
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                found[f"{path.stem}: {panel['title']} {target['refId']}"] = target["expr"]
    for group in RULES["groups"]:
        for rule in group["rules"]:
            # That it compares as it should is tested by promtool, with made-up series.
            compared = re.split(r" [<>] |==", rule["expr"])[0] if "alert" in rule else rule["expr"]
            found[rule.get("alert") or rule["record"]] = compared
    return found


@pytest.mark.parametrize(("place", "expression"), expressions().items(), ids=expressions())
def test_every_expression_has_an_answer(stack, sent, place, expression):
    for variable, value in {
        "$__rate_interval": "2m",
        "$__range": "1h",
        '"$host"': '".*"',
        '"$run"': '".*"',
    }.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    answer = eventually(lambda: stack.query(expression))
    assert all(each["value"][1] != "NaN" for each in answer), answer
