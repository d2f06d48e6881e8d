"""UnifiedPipeline: runs the loop, one step after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from ebpf_bot_core.assembly import Assembly, orchestrator_for
from ebpf_bot_core.built_in import BUILT_IN_PLAN
from ebpf_bot_core.command import Command
from ebpf_bot_core.coverage import CoverageBot, CoverageMap, VerdictChanges
from ebpf_bot_core.errors import BackendError, StageError
from ebpf_bot_core.exchange import account, carry_out
from ebpf_bot_core.observers import Observers
from ebpf_bot_core.opening import open_injection
from ebpf_bot_core.pace import Pace
from ebpf_bot_core.plan import Plan
from ebpf_bot_core.plugins import Plugins
from ebpf_bot_core.policy import Policy
from ebpf_bot_core.run import Mode, Run, Scope
from ebpf_bot_core.running import run_to_end
from ebpf_bot_core.signal import SignalBatch
from ebpf_bot_core.stages import ProbeInjector, SignalProcessor, SignalReceiver, SignalStore
from ebpf_bot_core.step import Step
from ebpf_bot_core.telemetry import names
from ebpf_bot_core.telemetry import stages as traced
from ebpf_bot_core.telemetry.instruments import Instruments
from ebpf_bot_core.telemetry.logs import traced_logger

__all__ = ["UnifiedPipeline"]

_log = traced_logger(__name__)


class UnifiedPipeline:
    """Runs plan → probes → decision → injection → batches → store → coverage, and tells OpenTelemetry.

    Stages come from the plan by name; each can be given as an object instead, and then needs no plugin. All probes
    are detached when the pipeline is closed, and at the latest when its process ends.

    Args:
        plan: what is expected; by default a small built-in plan on the simulated backend.
        injector: a stage to use instead of the plan's; likewise `receiver`, `processors`, `store`, `policy`.
        mode: how signals come.
        scope: whose signals count; `run` with a command sets it.
        keep: leave probes attached once they have fired, and count every hit.
        seed: for policies that draw.
        plugins: where names are looked up; by default all that are installed.
        tracer_provider: by default the global one; likewise `meter_provider`.
    """

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        injector: ProbeInjector | None = None,
        receiver: SignalReceiver | None = None,
        processors: Sequence[SignalProcessor] | None = None,
        store: SignalStore | None = None,
        policy: Policy | None = None,
        mode: Mode = Mode.COUNT,
        scope: Scope = Scope.HOST,
        keep: bool = False,
        seed: int = 0,
        plugins: Plugins | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.plan = plan or BUILT_IN_PLAN
        self.mode = mode
        self.scope = scope
        self.keep = keep
        self._plugins = plugins or Plugins()
        self._instruments = Instruments(tracer_provider, meter_provider)
        self._observers = Observers(self._plugins, self._instruments.failed)
        self._stages = Assembly.of(
            self.plan.stages,
            self._plugins,
            self._instruments,
            injector=injector,
            receiver=receiver,
            processors=processors,
            store=store,
        )
        self.orchestrator = orchestrator_for(self.plan, self._plugins, policy=policy, keep=keep, seed=seed)
        self._pace = Pace(mode)
        self._closed = False
        self._started_ns = 0
        self._bot: CoverageBot | None = None
        self._run: Run | None = None
        self._injection: traced.TracedInjection | None = None

    @classmethod
    def from_plan(cls, path: Path | str, **settings: Any) -> Self:
        """Return a pipeline for a plan file; `settings` are those of the constructor.

        Raises:
            PlanError: the plan cannot be read.
        """
        return cls(Plan.read(path), **settings)

    @property
    def bot(self) -> CoverageBot:
        """What is expected and known; the pipeline is started if it is not."""
        self.start()
        assert self._bot is not None  # noqa: S101 - for the type checker: start() made it
        return self._bot

    @property
    def record(self) -> Run:
        """The record of this run so far; the pipeline is started if it is not."""
        self.start()
        assert self._run is not None  # noqa: S101 - likewise
        return self._run

    def start(self, *, command: Sequence[str] = ()) -> None:
        """Find the probes, keep a first record, and open the injection. Only the first call does anything.

        Raises:
            StoreError: the store cannot be written; nothing has been opened then.
            BackendError: the backend cannot work here; that is kept as evidence first.
        """
        if self._bot is not None:
            return
        self._started_ns = time.monotonic_ns()
        self._bot = CoverageBot(
            [(each.priority, self._stages.injector.find(each.probes)) for each in self.plan.expect]
        )
        self._run = Run.begin(
            backend=self._stages.backend,
            plan_name=self.plan.name,
            plan_digest=self.plan.digest,
            mode=self.mode,
            scope=self.scope,
            command=tuple(command),
        )
        self._observers.tell("run_started", run=self._run)
        self._save(SignalBatch.empty(self._bot.probes))
        try:
            self._injection = open_injection(
                self._stages, self._bot, scope=self.scope, mode=self.mode, keep=self.keep
            )
        except BackendError:
            self._save(SignalBatch.empty(self._bot.probes))
            raise

    def step(self, *, timeout: float = 0.0) -> Step:
        """Run the loop once: map, decision, injection, batch, processors, store.

        Args:
            timeout: how many seconds to wait for something to fire.
        """
        bot, number = self.bot, self.record.steps + 1
        injection = self._open_injection()
        began = time.monotonic_ns()
        with self._instruments.step(self.record, number) as span:
            coverage = traced.get_coverage(bot, self._instruments)
            span.add_event(names.COVERAGE_RECEIVED)
            decision = traced.decide(
                self.orchestrator, bot, coverage, self._instruments, step=number, now_ns=began
            )
            self._instruments.decided(decision.strategy, (time.monotonic_ns() - began) / 1e6)
            span.add_event(names.DECISION_MADE, {names.PIPELINE_NEXT_PROBE: decision.next_probe})
            carry_out(decision, injection, bot, self.orchestrator)
            batch = self._receive(injection, timeout)
            changes = self._save(batch, step=number)
            self._instruments.covered(bot.coverage())
            traced.end_step(span, bot, decision)
            took = (time.monotonic_ns() - began) / 1e9
            step = Step(number, decision, batch.total, batch.lost, changes, bot.coverage(), took)
            level = logging.INFO if number == 1 or len(changes) else logging.DEBUG
            _log.log(level, "step %d: %d signals, %s", number, step.signals, decision.reason)
            self._observers.tell("step_finished", step=step)
        return step

    def collect_and_decide(self) -> str:
        """Run one step and return the name of the probe to prove next; empty when no gap is left."""
        return self.step().decision.next_probe

    def run(self, *, seconds: float | None = None, command: Command | None = None) -> CoverageMap:
        """Step until the time is up, the command has ended, or `stop` is called; then detach and keep the rest.

        Without `seconds` and `command` it goes on until every probe that can fire has fired. Errors are those of
        `ebpf_bot_core.running.run_to_end`.

        Args:
            command: started once the first probes are attached, and covered alone, with all its children. Where it
                outlives the run it is ended.
        """
        self.scope = self.scope if command is None else Scope.COMMAND
        if seconds is not None:
            self._pace.end_within(seconds)
        return run_to_end(self, self._pace, command)

    def stop(self, *, within: float = 0.0) -> None:
        """Let `run` end after at most so many seconds; an earlier time that was set stays. Safe in a handler."""
        self._pace.end_within(within)

    def follow(self) -> AbstractContextManager[None]:
        """Return the context in which the command to cover is started; see `Injection.follow`."""
        return self._open_injection().follow()

    def detach_all(self) -> None:
        """Detach every probe, then take in and keep what fired up to that moment; `finish` does it too."""
        if self._injection is None:
            return
        attached = np.flatnonzero(self.bot.attached)
        if len(attached):
            self._injection.detach(attached)
            self.bot.detach(attached, time.monotonic_ns())
            self._save(self._receive(self._injection, 0.0))

    def finish(self, *, exit_status: int | None = None) -> CoverageMap:
        """Detach all, keep the last record, and return the final map. Only the first call does anything more."""
        if not self.record.finished:
            self.detach_all()
            self._run = attrs.evolve(self.record, finished=True, exit_status=exit_status)
            self._save(SignalBatch.empty(self.bot.probes), everything=True)
            self._release()
            self._instruments.covered(self.bot.coverage())
            self._observers.tell("run_finished", run=self.record, coverage=self.bot.coverage())
        return self.bot.coverage()

    def close(self) -> None:
        """Detach all and close all stages, whatever has happened. May be called twice."""
        self._release()
        if not self._closed:
            self._closed = True
            self._stages.close()
            self._pace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._run is not None and not self._closed:
                self.finish()
        finally:
            self.close()

    def _open_injection(self) -> traced.TracedInjection:
        self.start()
        if self._injection is None:
            raise StageError("the pipeline is closed", hint="make a new one")
        return self._injection

    def _receive(self, injection: traced.TracedInjection, timeout: float) -> SignalBatch:
        batch = self._stages.receiver.receive(injection, timeout)
        for processor in self._stages.processors:
            batch = processor.process(batch)
        self.bot.observe(batch)
        self.bot.absorb(injection.inspect())
        account(injection, self.bot, self._instruments)
        return batch

    def _save(
        self, batch: SignalBatch, *, step: int | None = None, everything: bool = False
    ) -> VerdictChanges:
        now = time.monotonic_ns()
        self.bot.age(now)
        evidence, changes = self.bot.take_changes(everything=everything)
        seconds = (now - self._started_ns) / 1e9
        cost = self.bot.ledger.seconds
        self._run = attrs.evolve(
            self.record,
            seconds=seconds,
            overhead_ratio=None if cost is None else cost / seconds,
            steps=step or self.record.steps,
            trace_id=self._instruments.trace_id,
        )
        self._stages.store.save(self._run, batch, evidence)
        if len(changes):
            self._observers.tell("verdict_changed", changes=changes)
        return changes

    def _release(self) -> None:
        if self._injection is not None:
            injection, self._injection = self._injection, None
            injection.close()
