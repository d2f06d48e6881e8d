"""Wraps each stage in its span and its counts, from outside: a stage needs no line of telemetry to be seen.

Each wrapper is a stage itself, so it can stand wherever the wrapped one could, with or without a pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

import numpy as np
from numpy.typing import NDArray
from opentelemetry.trace import Span

from ebpf_bot_core.coverage import CoverageBot, CoverageMap
from ebpf_bot_core.errors import blame
from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.orchestrator import CoverageOrchestrator, Decision
from ebpf_bot_core.probe import ProbePattern, ProbeTable
from ebpf_bot_core.run import Mode, Run, Scope
from ebpf_bot_core.signal import SignalBatch
from ebpf_bot_core.stages import (
    Injection,
    ProbeInjector,
    SignalProcessor,
    SignalReceiver,
    SignalStore,
)
from ebpf_bot_core.telemetry import names
from ebpf_bot_core.telemetry.instruments import Instruments, sample, totals_json
from ebpf_bot_core.verdicts import Verdict

__all__ = [
    "TracedInjector",
    "TracedProcessor",
    "TracedReceiver",
    "TracedStore",
    "decide",
    "end_step",
    "get_coverage",
]


def get_coverage(bot: CoverageBot, instruments: Instruments) -> CoverageMap:
    """Read the bot's map inside its span."""
    with instruments.stage(names.GET_COVERAGE) as span:
        span.add_event(names.FETCHING_COVERAGE_MAP)
        coverage = bot.coverage()
        span.set_attribute(names.EXPECTED_COUNT, coverage.expected)
        span.set_attribute(names.EXPECTED_SIGNALS, sample(bot.probes.names))
        return coverage


def decide(
    orchestrator: CoverageOrchestrator,
    bot: CoverageBot,
    coverage: CoverageMap,
    instruments: Instruments,
    *,
    step: int,
    now_ns: int,
) -> Decision:
    """Ask for a decision inside its span."""
    with instruments.stage(names.DECIDE, orchestrator.strategy) as span:
        span.set_attribute(names.STRATEGY, orchestrator.strategy)
        span.set_attribute(names.COVERAGE_MAP, totals_json(coverage))
        with blame("policy", orchestrator.strategy):
            decision = orchestrator.decide(bot, step=step, now_ns=now_ns)
        span.set_attribute(names.CHOSEN_PROBE, decision.next_probe)
        span.set_attribute(names.DECISION_REASON, decision.reason)
        span.set_attribute(names.DECISION_SEED, decision.seed)
        span.add_event(names.PROBE_DECIDED, {names.CHOSEN_PROBE: decision.next_probe})
        return decision


def end_step(span: Span, bot: CoverageBot, decision: Decision) -> None:
    """Say on a step's span what it came to."""
    fired = np.flatnonzero(bot.evidence.fired)
    span.set_attribute(names.PIPELINE_COVERAGE_COUNT, len(fired))
    names_fired = sample([bot.probes[row] for row in fired[:100].tolist()])
    span.set_attribute(names.PIPELINE_COVERAGE_SIGNALS, names_fired)
    span.set_attribute(names.PIPELINE_NEXT_PROBE, decision.next_probe)


class TracedInjector:
    """An injector whose injections are seen. Finding and opening have no span, but their errors are counted."""

    def __init__(self, inner: ProbeInjector, plugin: str, instruments: Instruments) -> None:
        self._inner = inner
        self._plugin = plugin
        self._instruments = instruments
        with blame("injector", plugin):
            self.modes = inner.modes

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        """Pass on; finding happens before the first step."""
        with self._instruments.counting(names.INJECT), blame("injector", self._plugin):
            return self._inner.find(patterns)

    def open(self, probes: ProbeTable, *, scope: Scope, mode: Mode, keep: bool) -> TracedInjection:
        """Pass on, and see what is attached to it."""
        with self._instruments.counting(names.INJECT), blame("injector", self._plugin):
            injection = self._inner.open(probes, scope=scope, mode=mode, keep=keep)
            return TracedInjection(injection, self._plugin, self._instruments)

    def close(self) -> None:
        """Pass on."""
        with self._instruments.counting(names.INJECT), blame("injector", self._plugin):
            self._inner.close()


class TracedInjection:
    """An injection that is seen.

    Attributes:
        inner: the plugin's own injection, which is what its receiver knows.
    """

    def __init__(self, inner: Injection, plugin: str, instruments: Instruments) -> None:
        self.inner = inner
        self.probes = inner.probes
        self._plugin = plugin
        self._instruments = instruments

    def exchange(self, attach: NDArray[np.intp], detach: NDArray[np.intp]) -> Evidence:
        """Attach and detach what a decision says, in one span; the outcomes are those of `attach`, in its order."""
        with self._instruments.stage(names.INJECT, self._plugin) as span, blame("injector", self._plugin):
            # Detach first: where the budget is full, the places must be free before they are taken.
            if len(detach):
                self.inner.detach(detach)
            outcomes = self.inner.attach(attach) if len(attach) else Evidence.pending(ProbeTable(()))
            attached = int(np.count_nonzero(outcomes.columns["verdict"] == Verdict.SILENT))
            span.set_attribute(names.PROBES_ATTACHED, attached)
            span.set_attribute(names.PROBES_REFUSED, len(outcomes) - attached)
            span.set_attribute(names.PROBES_DETACHED, len(detach))
            return outcomes

    def attach(self, rows: NDArray[np.intp]) -> Evidence:
        """Attach, in a span."""
        return self.exchange(rows, rows[:0])

    def detach(self, rows: NDArray[np.intp]) -> None:
        """Detach, in a span."""
        self.exchange(rows[:0], rows)

    def inspect(self) -> Evidence:
        """Pass on; it is cheap enough to need no span of its own."""
        with self._instruments.counting(names.INJECT), blame("injector", self._plugin):
            return self.inner.inspect()

    def cost(self) -> NDArray[np.float64]:
        """Pass on; likewise."""
        with self._instruments.counting(names.INJECT), blame("injector", self._plugin):
            return self.inner.cost()

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Pass on. Only beginning to follow is the plugin's work: what happens within is the caller's."""
        with ExitStack() as followed:
            with self._instruments.counting(names.INJECT), blame("injector", self._plugin):
                followed.enter_context(self.inner.follow())
            yield

    def close(self) -> None:
        """Pass on."""
        with self._instruments.counting(names.INJECT), blame("injector", self._plugin):
            self.inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class TracedReceiver:
    """A receiver whose batches are seen and counted."""

    def __init__(self, inner: SignalReceiver, plugin: str, instruments: Instruments) -> None:
        self._inner = inner
        self._plugin = plugin
        self._instruments = instruments

    def receive(self, injection: Injection, timeout: float) -> SignalBatch:
        """Receive a batch, in a span. The injection may be the plugin's own, or that one wrapped."""
        own = injection.inner if isinstance(injection, TracedInjection) else injection
        with self._instruments.stage(names.RECEIVE, self._plugin) as span, blame("receiver", self._plugin):
            batch = self._inner.receive(own, timeout)
            total = batch.total
            span.set_attribute(names.SIGNALS, total)
            span.set_attribute(names.SIGNALS_LOST, batch.lost)
            self._instruments.received(total, batch.lost)
            return batch

    def close(self) -> None:
        """Pass on."""
        with self._instruments.counting(names.RECEIVE), blame("receiver", self._plugin):
            self._inner.close()


class TracedProcessor:
    """A processor that is seen."""

    def __init__(self, inner: SignalProcessor, plugin: str, instruments: Instruments) -> None:
        self._inner = inner
        self._plugin = plugin
        self._instruments = instruments

    def process(self, batch: SignalBatch) -> SignalBatch:
        """Process a batch, in a span that says how many signals were passed on."""
        with self._instruments.stage(names.PROCESS, self._plugin) as span, blame("processor", self._plugin):
            processed = self._inner.process(batch)
            span.set_attribute(names.SIGNALS, processed.total)
            return processed


class TracedStore:
    """A store that is seen."""

    def __init__(self, inner: SignalStore, plugin: str, instruments: Instruments) -> None:
        self._inner = inner
        self._plugin = plugin
        self._instruments = instruments

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        """Save a record, in a span."""
        with self._instruments.stage(names.STORE_SAVE, self._plugin) as span, blame("store", self._plugin):
            span.set_attribute(names.RUN_ID, run.id)
            span.set_attribute(names.SIGNALS, signals.total)
            span.set_attribute(names.EVIDENCE_ROWS, len(evidence))
            self._inner.save(run, signals, evidence)

    def runs(self) -> list[Run]:
        """Pass on."""
        with self._instruments.counting(names.STORE_LOAD), blame("store", self._plugin):
            return self._inner.runs()

    def evidence(self, run_id: str) -> Evidence:
        """Load a run's evidence, in a span."""
        with self._instruments.stage(names.STORE_LOAD, self._plugin) as span, blame("store", self._plugin):
            span.set_attribute(names.RUN_ID, run_id)
            evidence = self._inner.evidence(run_id)
            span.set_attribute(names.EVIDENCE_ROWS, len(evidence))
            return evidence

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        """Load a run's signals, in one span for the whole walk, however far it goes."""
        with self._instruments.walk(names.STORE_LOAD, self._plugin) as span, blame("store", self._plugin):
            span.set_attribute(names.RUN_ID, run_id)
            total = 0
            try:
                for batch in self._inner.signals(run_id):
                    total += batch.total
                    yield batch
            finally:
                span.set_attribute(names.SIGNALS, total)

    def close(self) -> None:
        """Pass on."""
        with self._instruments.counting(names.STORE_SAVE), blame("store", self._plugin):
            self._inner.close()
