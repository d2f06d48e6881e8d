"""Another system embeds the pipeline, with a store and a policy of its own, and gets the same telemetry.

The system here is an agent that suspects the payment code. It steers which probes are attached, keeps what they saw
in its own memory, and finds the loop in its own traces. It writes no telemetry.

    python examples/embed_pipeline.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ebpf_bot_core import Candidates, Evidence, Plan, Run, SignalBatch, StoreError, UnifiedPipeline

PLAN = """
[plan]
name = "agent"
[[expect]]
probes = ["uprobe:/usr/bin/checkout:*"]
[budget]
max_attached = 3
[stages]
injector = { name = "simulated", wait = false }
"""


class Suspicion:
    """A `Policy`: probes whose names hold a suspected word are attached first."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def score(self, candidates: Candidates, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return how many of the words are in each name; chance decides between equals."""
        names = [candidates.probes[row] for row in candidates.rows.tolist()]
        found = [sum(word in name for word in self._words) for name in names]
        return np.array(found, np.float64) + rng.random(len(names)) / 2


class AgentMemory:
    """A `SignalStore`: what the agent remembers of its runs."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._evidence: dict[str, Evidence] = {}
        self._signals: dict[str, list[SignalBatch]] = {}

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        """Remember one record."""
        known = self._evidence.get(run.id)
        self._runs[run.id] = run
        self._evidence[run.id] = evidence.copy() if known is None else known.join(evidence)
        self._signals.setdefault(run.id, []).append(signals)

    def runs(self) -> list[Run]:
        """Return the runs, oldest first."""
        return list(self._runs.values())

    def evidence(self, run_id: str) -> Evidence:
        """Return what is known from a run."""
        if run_id not in self._evidence:
            raise StoreError(f"the agent remembers no run {run_id!r}")
        return self._evidence[run_id].copy()

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        """Yield what fired in a run."""
        yield from self._signals.get(run_id, [])

    def close(self) -> None:
        """Do nothing: the memory lives as long as the agent."""


def main() -> None:
    """Take four steps and show what was decided, what is known, and what the agent's tracing saw."""
    spans = InMemorySpanExporter()
    tracing = TracerProvider()  # the agent's own; `opentelemetry.trace.set_tracer_provider` would do as well
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    memory = AgentMemory()

    with UnifiedPipeline(
        Plan.parse(PLAN, where="agent"),
        store=memory,
        policy=Suspicion("payment"),
        tracer_provider=tracing,
    ) as pipeline:
        for _ in range(4):
            print("next:", pipeline.collect_and_decide())

    (run,) = memory.runs()
    fired = [row.probe.rpartition(":")[2] for row in memory.evidence(run.id) if row.hits]
    print("fired:", ", ".join(fired))
    finished = spans.get_finished_spans()
    steps = [span for span in finished if span.name == "unified_pipeline_decision"]
    first = steps[0].context.span_id
    print("spans of the first step:")
    for span in sorted(finished, key=lambda span: span.start_time or 0):
        if span.parent is not None and span.parent.span_id == first:
            print("  ", span.name, (span.attributes or {}).get("ebpf_bot.plugin.name", ""))


if __name__ == "__main__":
    main()
