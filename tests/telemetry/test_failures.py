"""A stage or an observer that fails is seen: on its span, on the step's, and in the count of errors."""

from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest
from opentelemetry.trace import StatusCode

from ebpf_bot_core import BackendError, EbpfBotError, Plugins, StoreError, UnifiedPipeline, hookimpl
from ebpf_bot_core.errors import StageError
from ebpf_bot_core.telemetry.stages import TracedStore

from .recorder import simulated_plan
from .third_party import PROBES, OwnInjector, OwnStore, breaking

STEP = "unified_pipeline_decision"

# Whose method fails, and the span that it fails in.
IN_A_STEP = {
    ("policy", "score"): "decide_next_probe",
    ("injection", "attach"): "inject_probe",
    ("injection", "detach"): "inject_probe",
    ("receiver", "receive"): "receive_signal",
    ("processor", "process"): "process_signal",
    ("store", "save"): "store_save_signal",
}


def of(stages, whose):
    """Return one of the stages."""
    if whose == "injection":
        return stages["injector"].injection
    return stages["processors"][0] if whose == "processor" else stages[whose]


def errors(recorder):
    """Return the errors counted so far as (stage, type) to number."""
    counted = recorder.values("ebpf_bot_errors_total")
    return {
        (dict(attributes)["ebpf_bot.stage"], dict(attributes)["error.type"]): number
        for attributes, number in counted.items()
        if attributes
    }


def two_steps(running):
    """Attach in the first, and detach in the second what has fired."""
    running.step()
    running.step()


@pytest.mark.parametrize("broken", IN_A_STEP, ids=".".join)
def test_a_defect_in_a_stage(pipeline, recorder, stages, broken):
    span_name = IN_A_STEP[broken]
    running = pipeline()
    running.start()
    breaking(of(stages, broken[0]), broken[1], ZeroDivisionError("their defect"))
    with pytest.raises(StageError, match="ZeroDivisionError: their defect"):
        two_steps(running)
    failed = recorder.spans(span_name)[-1]
    step = recorder.spans(STEP)[-1]
    assert failed.parent.span_id == step.context.span_id
    for span in (failed, step):
        assert span.status.status_code is StatusCode.ERROR
        assert "their defect" in span.status.description
        assert span.attributes["error.type"] == "ZeroDivisionError"
    assert errors(recorder) == {(span_name, "ZeroDivisionError"): 1}
    assert [span for span in recorder.spans() if "error.type" in span.attributes] == [step, failed]


def test_an_error_that_a_backend_raises_on_purpose(recorder):
    plan = simulated_plan("uprobe:/usr/bin/checkout:main", fail_at={"receive": 1})
    with pytest.raises(BackendError):
        UnifiedPipeline(plan, **recorder.providers).step()
    assert recorder.only("receive_signal").attributes["error.type"] == "BackendError"
    assert errors(recorder) == {("receive_signal", "BackendError"): 1}


def test_an_error_in_inspecting_has_no_span_but_is_counted(pipeline, recorder, stages):
    breaking(of(stages, "injection"), "inspect", OSError("gone"))
    with pytest.raises(StageError):
        pipeline().step()
    assert recorder.only(STEP).attributes["error.type"] == "OSError"
    assert errors(recorder) == {("inject_probe", "OSError"): 1}


@pytest.mark.parametrize(("whose", "method"), [("injector", "find"), ("injector", "open")])
def test_an_error_before_the_first_step_is_counted(pipeline, recorder, stages, whose, method):
    breaking(of(stages, whose), method, KeyError("symbols"))
    with pytest.raises(StageError):
        pipeline().start()
    assert errors(recorder) == {("inject_probe", "KeyError"): 1}
    assert recorder.spans(STEP) == []


@pytest.mark.parametrize(
    ("whose", "span_name"),
    [("injector", "inject_probe"), ("receiver", "receive_signal"), ("store", "store_save_signal")],
)
def test_an_error_in_closing_is_counted(pipeline, recorder, stages, whose, span_name):
    breaking(of(stages, whose), "close", OSError("still busy"))
    running = pipeline()
    running.step()
    with pytest.raises(StageError):
        running.close()
    assert errors(recorder) == {(span_name, "OSError"): 1}


@pytest.mark.parametrize("read", ["runs", "evidence", "signals"])
def test_an_error_in_loading(recorder, read):
    store = OwnStore()
    breaking(store, read, StoreError("the disk is gone"))
    traced = TracedStore(store, "own", recorder.instruments())
    with pytest.raises(StoreError):
        list(traced.runs() if read == "runs" else getattr(traced, read)("x"))
    assert errors(recorder) == {("store_load_signal", "StoreError"): 1}
    spans = recorder.spans("store_load_signal")
    assert [span.attributes["error.type"] for span in spans] == ([] if read == "runs" else ["StoreError"])


def test_following_a_command(recorder, pipeline, stages):
    """What a plugin does wrong is its defect; what happens to the command meanwhile is not."""
    injection = of(stages, "injection")
    running = pipeline()
    running.start()
    traced = running._injection
    with pytest.raises(EbpfBotError, match="no such program"), traced.follow():
        raise EbpfBotError("no such program")
    assert errors(recorder) == {}

    @contextmanager
    def broken():
        raise RuntimeError("no cgroup")
        yield

    injection.follow = broken
    with pytest.raises(StageError, match="no cgroup"), traced.follow():
        pytest.fail("nothing may be started")
    assert errors(recorder) == {("inject_probe", "RuntimeError"): 1}


def test_a_stage_that_lacks_what_the_protocol_asks_for_is_named(pipeline):
    class NoModes(OwnInjector):
        modes = property(lambda self: self.nothing)

    with pytest.raises(StageError, match="NoModes"):
        pipeline(injector=NoModes())


def test_a_message_that_cannot_be_encoded_does_not_cost_the_span(pipeline, recorder, stages):
    breaking(of(stages, "receiver"), "receive", OSError("/opt/caf\udce9" + "x" * 1000))
    with pytest.raises(StageError):
        pipeline().step()
    description = recorder.only("receive_signal").status.description
    assert description.encode("utf-8")
    assert "/opt/caf\\udce9" in description
    assert len(description) < 300


class Careless:
    """An observer that fails whatever it is told."""

    @hookimpl
    def ebpf_bot_run_started(self, run):
        raise LookupError("run_started")

    @hookimpl
    def ebpf_bot_step_finished(self, step):
        raise LookupError("step_finished")

    @hookimpl
    def ebpf_bot_verdict_changed(self, changes):
        raise LookupError("verdict_changed")

    @hookimpl
    def ebpf_bot_run_finished(self, run, coverage):
        raise LookupError("run_finished")


def test_observers_that_fail_are_counted_and_break_nothing(pipeline, recorder, caplog):
    plugins = Plugins([])
    plugins.add(Careless(), name="careless")
    with pipeline(plugins=plugins) as running, caplog.at_level(logging.ERROR):
        two_steps(running)
        coverage = running.finish()
    assert coverage.expected == len(PROBES)
    assert errors(recorder) == {
        ("run_started", "LookupError"): 1,
        ("step_finished", "LookupError"): 2,
        ("verdict_changed", "LookupError"): 1,
        ("run_finished", "LookupError"): 1,
    }
    assert {span.status.status_code for span in recorder.spans()} == {StatusCode.UNSET}
    said = [record for record in caplog.records if "careless" in record.getMessage()]
    assert len(said) == sum(errors(recorder).values())
    in_the_first_step = next(record for record in said if "step_finished" in record.getMessage())
    assert in_the_first_step.span_id == f"{recorder.spans(STEP)[0].context.span_id:016x}"
