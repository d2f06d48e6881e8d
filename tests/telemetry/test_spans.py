"""The spans of a pipeline: what is under what, what each says, and how a run's steps hang together.

The stages are somebody else's, without a line of telemetry: what is seen here is seen of any stage.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from opentelemetry.trace import StatusCode

from ebpf_bot_core import Mode, ProbeTable, Scope, UnifiedPipeline, traced
from ebpf_bot_core.telemetry.stages import TracedProcessor, TracedReceiver, TracedStore

from .recorder import simulated_plan
from .third_party import PROBES, DropsSyscalls, OwnInjection, OwnInjector, OwnReceiver, OwnStore

A_STEP = [
    "get_coverage",
    "decide_next_probe",
    "inject_probe",
    "receive_signal",
    "process_signal",
    "store_save_signal",
]


def test_a_step_is_the_parent_of_what_its_stages_do(pipeline, recorder):
    pipeline().step()
    step = recorder.only("unified_pipeline_decision")
    assert recorder.children(step) == A_STEP
    assert step.parent is None
    assert {span.context.trace_id for span in recorder.spans() if span.parent} == {step.context.trace_id}


def test_what_has_a_parent_needs_no_link(pipeline, recorder):
    running = pipeline()
    running.step()
    running.step()
    assert not any(span.links for span in recorder.spans() if span.parent)


def test_a_step_with_nothing_to_attach_injects_nothing(pipeline, recorder):
    running = pipeline(keep=True)
    running.step()
    running.step()
    second = recorder.spans("unified_pipeline_decision")[1]
    assert recorder.children(second) == [name for name in A_STEP if name != "inject_probe"]


def test_each_processor_has_its_own_span(pipeline, recorder):
    pipeline(processors=[DropsSyscalls(), DropsSyscalls()]).step()
    assert len(recorder.spans("process_signal")) == 2


def test_a_step_is_below_the_span_of_an_embedding_system(pipeline, recorder):
    with recorder.tracer_provider.get_tracer("theirs").start_as_current_span("theirs") as theirs:
        pipeline().step()
    assert recorder.only("unified_pipeline_decision").parent.span_id == theirs.get_span_context().span_id


def test_what_a_step_says(pipeline, recorder):
    running = pipeline()
    step = running.step()
    span = recorder.only("unified_pipeline_decision")
    assert dict(span.attributes) == {
        "ebpf_bot.run.id": running.record.id,
        "ebpf_bot.step": 1,
        "pipeline.coverage_signals": PROBES[:2],
        "pipeline.coverage_count": 2,
        "pipeline.next_probe": step.decision.next_probe,
    }
    assert [(event.name, dict(event.attributes)) for event in span.events] == [
        ("coverage_received", {}),
        ("decision_made", {"pipeline.next_probe": step.decision.next_probe}),
    ]
    assert span.status.status_code is StatusCode.UNSET


def test_what_reading_the_map_says(pipeline, recorder):
    pipeline().step()
    span = recorder.only("get_coverage")
    assert dict(span.attributes) == {
        "coverage_bot.expected_count": 3,
        "coverage_bot.expected_signals": PROBES,
    }
    assert [event.name for event in span.events] == ["fetching_coverage_map"]


def test_what_a_decision_says(pipeline, recorder):
    decision = pipeline(seed=7).step().decision
    span = recorder.only("decide_next_probe")
    said = dict(span.attributes)
    totals = json.loads(said.pop("orchestrator.coverage_map"))
    assert totals == {
        "pending": 3, "missing": 0, "refused": 0, "excluded": 0, "silent": 0, "blind": 0, "fired": 0,
    }  # fmt: skip
    assert said == {
        "ebpf_bot.plugin.name": "InOrder",
        "orchestrator.strategy": "InOrder",
        "orchestrator.chosen_probe": PROBES[0],
        "orchestrator.reason": decision.reason,
        "orchestrator.seed": 7,
    }
    (event,) = span.events
    assert (event.name, dict(event.attributes)) == ("probe_decided", {"orchestrator.chosen_probe": PROBES[0]})


def test_what_the_plugins_stages_say(pipeline, recorder):
    running = pipeline()
    running.step()
    assert dict(recorder.only("inject_probe").attributes) == {
        "ebpf_bot.plugin.name": "OwnInjector",
        "ebpf_bot.probes.attached": 3,
        "ebpf_bot.probes.refused": 0,
        "ebpf_bot.probes.detached": 0,
    }
    assert dict(recorder.only("receive_signal").attributes) == {
        "ebpf_bot.plugin.name": "OwnReceiver",
        "ebpf_bot.signals": 6,
        "ebpf_bot.signals.lost": 1,
    }
    assert dict(recorder.only("process_signal").attributes) == {
        "ebpf_bot.plugin.name": "DropsSyscalls",
        "ebpf_bot.signals": 4,
    }
    found, first_step = recorder.spans("store_save_signal")
    assert dict(found.attributes) == {
        "ebpf_bot.plugin.name": "OwnStore",
        "ebpf_bot.run.id": running.record.id,
        "ebpf_bot.signals": 0,
        "ebpf_bot.evidence.rows": 3,
    }
    assert (first_step.attributes["ebpf_bot.signals"], first_step.attributes["ebpf_bot.evidence.rows"]) == (
        4,
        3,
    )


def test_what_is_taken_off_and_what_is_refused_is_counted(recorder):
    main, refund = "uprobe:/usr/bin/checkout:main", "uprobe:/usr/bin/checkout:refund_order"
    plan = simulated_plan(main, refund, faults={refund: "verifier-rejected"})
    running = UnifiedPipeline(plan, **recorder.providers)
    running.step()
    running.step()
    first, second = (dict(span.attributes) for span in recorder.spans("inject_probe"))
    assert (first["ebpf_bot.probes.attached"], first["ebpf_bot.probes.refused"]) == (1, 1)
    assert (second["ebpf_bot.probes.attached"], second["ebpf_bot.probes.detached"]) == (0, 1)


def test_a_plugin_is_asked_for_nothing_that_was_not_decided(pipeline, recorder, stages):
    """A plugin's `attach` never sees an empty list: many a kernel interface answers one with EINVAL."""
    injection, seen = stages["injector"].injection, []
    attach, detach = injection.attach, injection.detach
    injection.attach = lambda rows: seen.append(("attach", len(rows))) or attach(rows)
    injection.detach = lambda rows: seen.append(("detach", len(rows))) or detach(rows)
    with pipeline() as running:
        running.step()
        running.step()
    assert seen == [("attach", 3), ("detach", 2), ("detach", 1)]


def test_plugins_are_named_as_the_plan_names_them(recorder):
    with UnifiedPipeline(**recorder.providers) as running:
        running.step()
    named = {span.name: span.attributes.get("ebpf_bot.plugin.name") for span in recorder.spans()}
    assert named == {
        "unified_pipeline_decision": None,
        "get_coverage": None,
        "decide_next_probe": "random",
        "inject_probe": "simulated",
        "receive_signal": "simulated",
        "store_save_signal": "memory",
    }


def test_what_comes_after_the_first_step_links_to_it(pipeline, recorder):
    with pipeline() as running:
        for _ in range(3):
            running.step()
    first, *later = recorder.spans("unified_pipeline_decision")
    assert not first.links
    assert len({span.context.trace_id for span in (first, *later)}) == 3
    after = [span for span in recorder.spans() if not span.parent and span.start_time > first.end_time]
    # The detaching, receiving and saving at the run's end stand outside all steps, so the link is all they have.
    assert {span.name for span in after} - {"unified_pipeline_decision"} == {*A_STEP[2:]}
    assert [[link.context for link in span.links] for span in after] == [[first.context]] * len(after)


def test_the_record_names_the_first_trace(pipeline, recorder):
    with pipeline() as running:
        running.step()
        running.step()
    first = recorder.spans("unified_pipeline_decision")[0]
    assert running.record.trace_id == f"{first.context.trace_id:032x}"


def test_samples_stay_small_in_a_large_plan(recorder):
    plan = simulated_plan("uprobe:/srv/large:*", binaries={"/srv/large": 5000}, rates={"*": 1.0})
    UnifiedPipeline(plan, **recorder.providers).step()
    reading, step = recorder.only("get_coverage"), recorder.only("unified_pipeline_decision")
    assert reading.attributes["coverage_bot.expected_count"] == 5000
    assert len(reading.attributes["coverage_bot.expected_signals"]) == 10
    assert step.attributes["pipeline.coverage_count"] == 5000
    assert len(step.attributes["pipeline.coverage_signals"]) == 10
    sizes = [len(str(value)) for span in recorder.spans() for value in span.attributes.values()]
    assert max(sizes) < 1000


def test_samples_of_strange_names_can_be_exported(pipeline, recorder):
    injector = OwnInjector("uprobe:/opt/caf\udce9:f")
    pipeline(f"uprobe:/opt/app:{'x' * 8000}", PROBES[0], injector=injector).step()
    long, plain, escaped = recorder.only("get_coverage").attributes["coverage_bot.expected_signals"]
    assert len(long) == 256
    assert plain == PROBES[0]
    assert escaped == "uprobe:/opt/caf\\udce9:f"


def test_a_receiver_and_a_processor_are_seen_without_a_pipeline(recorder):
    instruments = recorder.instruments()
    batch = TracedReceiver(OwnReceiver(), "theirs", instruments).receive(_attached(), 0.0)
    TracedProcessor(DropsSyscalls(), "drops", instruments).process(batch)
    said = [dict(span.attributes) for span in recorder.spans()]
    assert [span.name for span in recorder.spans()] == ["receive_signal", "process_signal"]
    assert [each["ebpf_bot.plugin.name"] for each in said] == ["theirs", "drops"]
    assert [each["ebpf_bot.signals"] for each in said] == [6, 4]
    assert not any(span.parent or span.links for span in recorder.spans())


def _attached():
    injection = OwnInjection()
    injection.attach(np.arange(len(PROBES)))
    return injection


@pytest.fixture
def kept(pipeline, stages):
    """The store and the id of a finished run."""
    with pipeline() as running:
        running.step()
    return stages["store"], running.record.id


def test_loading_evidence_has_a_span(recorder, kept):
    store, run_id = kept
    assert len(TracedStore(store, "own", recorder.instruments()).evidence(run_id)) == 3
    assert dict(recorder.only("store_load_signal").attributes) == {
        "ebpf_bot.plugin.name": "own",
        "ebpf_bot.run.id": run_id,
        "ebpf_bot.evidence.rows": 3,
    }


def test_loading_signals_has_one_span_for_the_whole_walk(recorder, kept):
    store, run_id = kept
    tracer = recorder.tracer_provider.get_tracer("reader")
    for _ in TracedStore(store, "own", recorder.instruments()).signals(run_id):
        with tracer.start_as_current_span("what the reader does meanwhile"):
            pass
    span = recorder.only("store_load_signal")
    assert span.attributes["ebpf_bot.signals"] == 4
    assert recorder.children(span) == []


def test_a_walk_that_is_broken_off_says_how_far_it_came(recorder):
    store = OwnStore()
    batch = OwnReceiver().receive(_attached(), 0.0)
    store.kept["x"] = (None, [batch, batch], None)
    walk = TracedStore(store, "own", recorder.instruments()).signals("x")
    next(walk)
    walk.close()
    assert recorder.only("store_load_signal").attributes["ebpf_bot.signals"] == 6
    assert recorder.only("store_load_signal").status.status_code is StatusCode.UNSET


def test_the_public_wrapper_gives_any_stage_alone_its_spans(recorder, kept):
    store, run_id = kept
    injector = traced(OwnInjector(), **recorder.providers)
    injection = injector.open(ProbeTable.of(PROBES), scope=Scope.HOST, mode=Mode.COUNT, keep=False)
    before = len(recorder.spans())
    injection.attach(np.arange(len(PROBES)))
    batch = traced(OwnReceiver(), name="theirs", **recorder.providers).receive(injection, 0.0)
    traced(DropsSyscalls(), **recorder.providers).process(batch)
    traced(store, **recorder.providers).evidence(run_id)
    alone = recorder.spans()[before:]
    assert [(span.name, span.attributes["ebpf_bot.plugin.name"]) for span in alone] == [
        ("inject_probe", "OwnInjector"),
        ("receive_signal", "theirs"),
        ("process_signal", "DropsSyscalls"),
        ("store_load_signal", "OwnStore"),
    ]
    with pytest.raises(TypeError, match="object is no stage"):
        traced(object(), **recorder.providers)
