"""The loop: what a step does, what is kept, and how a run ends, well or badly."""

import contextlib
import os
import threading
import time

import numpy as np
import pytest

from ebpf_bot_core import (
    BackendError,
    Evidence,
    Mode,
    NothingAttachedError,
    Plan,
    Plugins,
    ProbeTable,
    Reason,
    Scope,
    SignalBatch,
    StoreError,
    UnifiedPipeline,
    Verdict,
    hookimpl,
)
from ebpf_bot_core.command import Command
from ebpf_bot_core.errors import StageError
from ebpf_bot_core.stores.memory import MemoryStore

PLAN = Plan.of(["syscall:a", "syscall:b", "syscall:c"])


class FakeInjection:
    """Attaches everything but `syscall:b`, and notes what was asked of it."""

    def __init__(self, probes, log):
        self.probes, self.log, self.live = probes, log, set()

    def attach(self, rows):
        self.log.append(("attach", [self.probes[row] for row in rows.tolist()]))
        outcomes = []
        for row in rows.tolist():
            name = self.probes[row]
            if name == "syscall:b":
                outcomes.append((name, Verdict.REFUSED, Reason.VERIFIER_REJECTED, "no"))
            else:
                self.live.add(row)
                outcomes.append((name, Verdict.SILENT, Reason.NONE, ""))
        return Evidence.stating(outcomes)

    def detach(self, rows):
        self.log.append(("detach", [self.probes[row] for row in rows.tolist()]))
        self.live -= set(rows.tolist())

    def inspect(self):
        return Evidence.pending(self.probes)

    def cost(self):
        return np.full(len(self.probes), np.nan)

    @contextlib.contextmanager
    def follow(self):
        self.log.append(("follow",))
        yield

    def close(self):
        self.log.append(("close",))
        self.live.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class FakeInjector:
    modes = frozenset({Mode.COUNT})

    def __init__(self, verdict=Verdict.PENDING, reason=Reason.NOT_EXAMINED):
        self.log = []
        self.standing = (verdict, reason)

    def find(self, patterns):
        return Evidence.stating((str(pattern), *self.standing, "") for pattern in patterns)

    def open(self, probes, *, scope, mode, keep):
        self.log.append(("open", scope, mode, keep))
        return FakeInjection(probes, self.log)

    def close(self):
        self.log.append(("closed",))


class FakeReceiver:
    """Lets `syscall:a` fire once a step while it is attached, and loses one signal."""

    def receive(self, injection, timeout):
        rows = np.array(sorted(row for row in injection.live if injection.probes[row] == "syscall:a"), int)
        batch = SignalBatch.counted(injection.probes, rows, np.ones(len(rows), int), time.time_ns())
        return SignalBatch(batch.probes, batch.records, lost=1)

    def close(self):
        pass


def pipeline_of(**stages) -> UnifiedPipeline:
    stages = {
        "injector": FakeInjector(),
        "receiver": FakeReceiver(),
        "store": MemoryStore(),
        "processors": (),
    } | stages
    return UnifiedPipeline(stages.pop("plan", PLAN), **stages)


def verdicts(coverage):
    return {row.probe: row.verdict for row in coverage.evidence}


def test_a_run_goes_round_and_everything_is_kept():
    injector, store = FakeInjector(), MemoryStore()
    with pipeline_of(injector=injector, store=store) as pipeline:
        coverage = pipeline.run(seconds=0.1)
    assert verdicts(coverage) == {
        "syscall:a": Verdict.FIRED,
        "syscall:b": Verdict.REFUSED,
        "syscall:c": Verdict.SILENT,
    }
    (run,) = store.runs()
    assert run.finished
    assert run.steps >= 2
    assert run.seconds >= 0.1
    assert store.evidence(run.id) == coverage.evidence
    assert sum(batch.total for batch in store.signals(run.id)) == coverage.signals
    assert injector.log[0] == ("open", Scope.HOST, Mode.COUNT, False)
    assert ("detach", ["syscall:a"]) in injector.log, "what fired steps off"
    assert injector.log[-2:] == [("close",), ("closed",)]


def test_keep_detaches_only_at_the_end():
    injector = FakeInjector()
    with pipeline_of(injector=injector, keep=True) as pipeline:
        coverage = pipeline.run(seconds=0.05)
    assert [entry for entry in injector.log if entry[0] == "detach"] == [
        ("detach", ["syscall:a", "syscall:c"])
    ]
    assert {row.probe: row.hits for row in coverage.evidence}["syscall:a"] >= 2


def test_lost_signals_reach_the_map():
    with pipeline_of() as pipeline:
        pipeline.step()
        assert pipeline.step().lost == 1
        assert pipeline.finish().evidence.signals_lost >= 2


def test_collect_and_decide_names_the_gap_to_close():
    with pipeline_of() as pipeline:
        assert pipeline.collect_and_decide() in pipeline.bot.probes
        assert pipeline.collect_and_decide() == "syscall:c", "a has fired and b is refused"


def test_without_arguments_it_simulates():
    with UnifiedPipeline() as pipeline:
        names = [pipeline.collect_and_decide() for _ in range(5)]
        assert all(name in pipeline.bot.probes or name == "" for name in names)
        assert pipeline.record.backend == "simulated"
        assert pipeline.bot.evidence.fired.any()


def test_a_plan_file(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(
        '[plan]\nname = "p"\n[[expect]]\nprobes = ["syscall:openat"]\n'
        '[stages]\ninjector = "simulated"\nstore = "memory"\n'
    )
    with UnifiedPipeline.from_plan(path, seed=3) as pipeline:
        assert pipeline.run(seconds=0.05).expected == 1
        assert pipeline.record.plan_name == "p"


def test_processors_come_in_order_and_decide_what_counts():
    class Drop:
        def process(self, batch):
            return batch.where(np.zeros(len(batch), bool))

    seen = []

    class See:
        def process(self, batch):
            seen.append(batch.total)
            return batch

    with pipeline_of(processors=[See(), Drop(), See()]) as pipeline:
        pipeline.step()
        assert seen == [1, 0]
        assert not pipeline.bot.evidence.fired.any()


def test_nothing_attached_ends_before_the_command(tmp_path):
    store, marker = MemoryStore(), tmp_path / "started"
    injector = FakeInjector(Verdict.MISSING, Reason.BINARY_MISSING)
    with (
        pipeline_of(injector=injector, store=store) as pipeline,
        pytest.raises(NothingAttachedError, match=r"3 missing \(binary-missing\)"),
    ):
        pipeline.run(command=Command(["touch", str(marker)]))
    assert not marker.exists()
    (run,) = store.runs()
    assert len(store.evidence(run.id)) == 3


def test_a_backend_that_cannot_open_leaves_evidence():
    class Denied(FakeInjector):
        def open(self, probes, **_):
            raise BackendError("not permitted", hint="be root", errno=1)

    store = MemoryStore()
    with (
        pipeline_of(injector=Denied(), store=store) as pipeline,
        pytest.raises(BackendError, match="not permitted"),
    ):
        pipeline.run(seconds=1)
    (run,) = store.runs()
    assert {(row.verdict, row.reason) for row in store.evidence(run.id)} == {
        (Verdict.REFUSED, Reason.PERMISSION)
    }


def test_an_unwritable_store_fails_before_anything_is_attached():
    class Full(MemoryStore):
        def save(self, run, signals, evidence):
            raise StoreError("no space left", hint="free some")

    injector = FakeInjector()
    with (
        pipeline_of(injector=injector, store=Full()) as pipeline,
        pytest.raises(StoreError, match="no space"),
    ):
        pipeline.run(seconds=1)
    assert injector.log == [("closed",)]


def test_a_store_that_fails_midway_detaches_and_lets_the_command_run_on(tmp_path):
    class FillsUp(MemoryStore):
        def save(self, run, signals, evidence):
            if run.steps >= 3:
                raise StoreError("no space left")
            super().save(run, signals, evidence)

    injector, marker = FakeInjector(), tmp_path / "done"
    command = Command(["sh", "-c", f"sleep 0.3; touch {marker}"])
    with pipeline_of(injector=injector, store=FillsUp()) as pipeline, pytest.raises(StoreError):
        pipeline.run(command=command)
    assert ("close",) in injector.log
    assert marker.exists()


def test_a_defect_of_a_stage_names_its_plugin():
    class Broken(FakeReceiver):
        def receive(self, injection, timeout):
            raise ZeroDivisionError("oops")

    injector = FakeInjector()
    with (
        pipeline_of(injector=injector, receiver=Broken()) as pipeline,
        pytest.raises(StageError, match="receiver 'Broken' failed: ZeroDivisionError: oops"),
    ):
        pipeline.run(seconds=1)
    assert ("close",) in injector.log


def test_a_mode_that_the_backend_lacks():
    with pipeline_of(mode=Mode.STREAM) as pipeline, pytest.raises(BackendError, match="no stream mode"):
        pipeline.run(seconds=1)


def test_the_command_is_followed_and_its_status_kept():
    injector, store = FakeInjector(), MemoryStore()
    with pipeline_of(injector=injector, store=store) as pipeline:
        pipeline.run(command=Command(["sh", "-c", "exit 7"]))
        assert pipeline.record.exit_status == 7
    assert injector.log[0][1] is Scope.COMMAND
    assert injector.log.index(("follow",)) > injector.log.index(
        ("attach", ["syscall:a", "syscall:b", "syscall:c"])
    )
    assert store.runs()[0].command == ("sh", "-c", "exit 7")


def test_a_command_inherits_no_more_than_python_sees(tmp_path, monkeypatch):
    """What libraries want to be told by C's environment is put there for a moment, maybe by another thread."""
    monkeypatch.setenv("SEEN_BY_PYTHON", "1")
    told = tmp_path / "told"
    os.putenv("SEEN_BY_C", "1")
    try:
        with pipeline_of() as pipeline:
            pipeline.run(command=Command(["sh", "-c", f"echo $SEEN_BY_PYTHON,$SEEN_BY_C >{told}"]))
    finally:
        os.unsetenv("SEEN_BY_C")
    assert told.read_text() == "1,\n"


def test_a_command_ended_by_a_signal():
    with pipeline_of() as pipeline:
        pipeline.run(command=Command(["sh", "-c", "kill -TERM $$"]))
        assert pipeline.record.exit_status == 128 + 15


def test_the_time_is_up_for_a_command_too():
    began = time.monotonic()
    with pipeline_of() as pipeline:
        pipeline.run(seconds=0.2, command=Command(["sleep", "60"]))
        assert pipeline.record.exit_status == 128 + 15
    assert time.monotonic() - began < 10


def test_stop_from_elsewhere_ends_the_run():
    store = MemoryStore()
    with pipeline_of(store=store) as pipeline:
        timer = threading.Timer(0.1, pipeline.stop)
        timer.start()
        began = time.monotonic()
        pipeline.run(seconds=60)
        timer.join()
    assert time.monotonic() - began < 10
    assert store.runs()[0].finished


def test_it_ends_by_itself_when_no_gap_is_left():
    with pipeline_of(plan=Plan.of(["syscall:a"])) as pipeline:
        assert pipeline.run().ratio == 1.0


def test_leaving_the_context_finishes():
    store = MemoryStore()
    with pipeline_of(store=store) as pipeline:
        pipeline.step()
    assert store.runs()[0].finished
    with pytest.raises(StageError, match="closed"):
        pipeline.step()


def test_an_exception_in_the_context_still_detaches():
    injector = FakeInjector()
    with pytest.raises(KeyboardInterrupt), pipeline_of(injector=injector) as pipeline:
        pipeline.step()
        raise KeyboardInterrupt
    assert ("close",) in injector.log


def test_observers_hear_of_everything_and_cannot_break_it():
    heard = []

    class Listener:
        @hookimpl
        def ebpf_bot_run_started(self, run):
            heard.append("started")

        @hookimpl
        def ebpf_bot_step_finished(self, step):
            heard.append(step.number)
            raise RuntimeError("a defect of the observer")

        @hookimpl
        def ebpf_bot_verdict_changed(self, changes):
            heard.extend(f"{probe} {after.label}" for probe, _, after in changes)

        @hookimpl
        def ebpf_bot_run_finished(self, run, coverage):
            heard.append(("finished", coverage.totals[Verdict.FIRED]))

    plugins = Plugins(entries=[])
    plugins.add(Listener(), name="listener")
    with pipeline_of(plugins=plugins) as pipeline:
        pipeline.step()
    assert heard == [
        "started",
        "syscall:a fired",
        "syscall:b refused",
        "syscall:c silent",
        1,
        ("finished", 1),
    ]


def test_what_fired_at_the_very_end_is_told_too():
    heard = []

    class Late(FakeReceiver):
        def receive(self, injection, timeout):
            if injection.live:
                return SignalBatch.empty(injection.probes)
            rows = np.array([2])
            return SignalBatch.counted(injection.probes, rows, np.array([1]), time.time_ns())

    class Listener:
        @hookimpl
        def ebpf_bot_verdict_changed(self, changes):
            heard.extend(f"{probe} {after.label}" for probe, _, after in changes)

    plugins = Plugins(entries=[])
    plugins.add(Listener(), name="listener")
    with pipeline_of(plugins=plugins, receiver=Late()) as pipeline:
        pipeline.step()
    assert heard[-1] == "syscall:c fired"


def test_every_stage_is_closed_although_one_fails_to():
    class Stuck(FakeReceiver):
        def close(self):
            raise OSError("stuck")

    injector = FakeInjector()
    with (
        pytest.raises(StageError, match="stuck"),
        pipeline_of(injector=injector, receiver=Stuck()) as pipeline,
    ):
        pipeline.step()
    assert injector.log[-1] == ("closed",)


def test_the_table_of_the_run_is_that_of_every_batch():
    tables = set()

    class See:
        def process(self, batch):
            tables.add(id(batch.probes))
            assert isinstance(batch.probes, ProbeTable)
            return batch

    with pipeline_of(processors=[See()]) as pipeline:
        pipeline.step()
        pipeline.step()
        assert tables == {id(pipeline.bot.probes)}
