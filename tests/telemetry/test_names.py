"""names.py is the one list: all that is emitted is in it, and all that is in it is emitted."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from ebpf_bot_core import Plugins, UnifiedPipeline, hookimpl
from ebpf_bot_core.errors import StageError
from ebpf_bot_core.telemetry import names
from ebpf_bot_core.telemetry.stages import TracedStore

from .recorder import simulated_plan
from .third_party import DropsSyscalls, OwnStore, breaking


class Careless:
    @hookimpl
    def ebpf_bot_run_started(self, run):
        raise LookupError


@pytest.fixture
def rich(recorder):
    """The telemetry of a run in which all happens that can: probes that fire, that cannot, losses and failures."""
    store = OwnStore()
    plugins = Plugins()
    plugins.add(Careless(), name="careless")
    plan = simulated_plan(
        "uprobe:/usr/bin/checkout:*",
        "syscall:*",
        lose=0.5,
        attach_limit=8,
        faults={"*:capture_payment": "verifier-rejected"},
        blind={"*:refund_order": "binary-replaced"},
    )
    with UnifiedPipeline(
        plan, processors=[DropsSyscalls()], store=store, plugins=plugins, **recorder.providers
    ) as running:
        for _ in range(3):
            running.step()
        run_id = running.record.id
    traced = TracedStore(store, "own", recorder.instruments())
    traced.evidence(run_id)
    list(traced.signals(run_id))
    breaking(store, "runs", RuntimeError())
    with pytest.raises(StageError):
        traced.runs()
    # The pipeline has no estimate to pass on yet.
    recorder.instruments().cost(0.01)
    return recorder


def test_spans(rich):
    assert {span.name for span in rich.spans()} == set(names.SPANS)


def test_attributes_of_spans(rich):
    emitted = defaultdict(set)
    for span in rich.spans():
        emitted[span.name].update(span.attributes)
    assert emitted == {name: set(attributes) for name, attributes in names.SPAN_ATTRIBUTES.items()}


def test_events_and_their_attributes(rich):
    emitted = {(event.name, span.name, *event.attributes) for span in rich.spans() for event in span.events}
    assert emitted == {(event, span, *names.EVENT_ATTRIBUTES[event]) for event, span in names.EVENTS.items()}


def test_metrics_and_their_attributes(rich):
    emitted = {
        name: {key for point in metric.data.data_points for key in point.attributes}
        for name, metric in rich.metrics().items()
    }
    assert emitted == {name: set(metric.attributes) for name, metric in names.METRICS.items()}


def test_every_attribute_that_something_may_carry_is_described():
    carried = {
        *(each for attributes in names.SPAN_ATTRIBUTES.values() for each in attributes),
        *(each for attributes in names.EVENT_ATTRIBUTES.values() for each in attributes),
        *(each for metric in names.METRICS.values() for each in metric.attributes),
    }
    assert carried == set(names.ATTRIBUTES)


def test_names_follow_the_conventions():
    # Exactly these names must come out of any translation to Prometheus: no unit that would be appended.
    for metric in names.METRICS.values():
        assert re.fullmatch(r"ebpf_bot_[a-z_]+", metric.name)
        assert re.fullmatch(r"\{[a-z]+\}", metric.unit)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
    for attribute in names.ATTRIBUTES:
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", attribute)


def test_every_description_is_one_line_without_a_full_stop():
    described = [*names.SPANS.values(), *names.ATTRIBUTES.values(), *names.LOG_ATTRIBUTES.values()]
    for text in [*described, *(metric.description for metric in names.METRICS.values())]:
        assert text
        assert text == text.strip().rstrip(".")
        assert "\n" not in text
        assert "|" not in text, "it stands in a table of the docs"
