"""Stages as somebody else would write them: public names only, and not one line of telemetry."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import numpy as np

from ebpf_bot_core import (
    Candidates,
    Evidence,
    Mode,
    ProbePattern,
    ProbeTable,
    Reason,
    Run,
    Scope,
    SignalBatch,
    Verdict,
)

PROBES = ("uprobe:/opt/app:alpha", "uprobe:/opt/app:beta", "syscall:openat")


class OwnInjector:
    modes = frozenset({Mode.COUNT})

    def __init__(self, *also_finds: str) -> None:
        self._also_finds = also_finds
        self.injection = OwnInjection()

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        names = [*map(str, patterns), *self._also_finds]
        return Evidence.stating((name, Verdict.PENDING, Reason.NOT_EXAMINED, "") for name in names)

    def open(self, probes: ProbeTable, *, scope: Scope, mode: Mode, keep: bool) -> OwnInjection:
        self.injection.probes = probes
        return self.injection

    def close(self) -> None:
        pass


class OwnInjection:
    def __init__(self, probes: ProbeTable | None = None) -> None:
        self.probes = probes or ProbeTable.of(PROBES)
        self.attached: set[int] = set()
        self.fired_between: list[int] = []

    def attach(self, rows: np.ndarray) -> Evidence:
        self.attached.update(rows.tolist())
        return Evidence.stating((self.probes[row], Verdict.SILENT, Reason.NONE, "") for row in rows.tolist())

    def detach(self, rows: np.ndarray) -> None:
        self.attached.difference_update(rows.tolist())

    def inspect(self) -> Evidence:
        return Evidence.pending(self.probes)

    def cost(self) -> np.ndarray:
        return np.full(len(self.probes), np.nan)

    def follow(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self.attached.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class OwnReceiver:
    """Sees each attached probe fire twice, and what has fired between; loses one signal every time.

    Args:
        hits: how often each fires instead.
    """

    def __init__(self, hits: int = 2) -> None:
        self._hits = hits

    def receive(self, injection: OwnInjection, timeout: float) -> SignalBatch:
        counts = dict.fromkeys(sorted(injection.attached), self._hits)
        for row in injection.fired_between:
            counts[row] = counts.get(row, 0) + 1
        injection.fired_between.clear()
        rows, hits = np.array([*counts], np.int64), np.array([*counts.values()], np.int64)
        batch = SignalBatch.counted(injection.probes, rows, hits, time.time_ns())
        return SignalBatch(batch.probes, batch.records, lost=1)

    def close(self) -> None:
        pass


class DropsSyscalls:
    def process(self, batch: SignalBatch) -> SignalBatch:
        return batch.where(np.array([not each.probe.startswith("syscall:") for each in batch], np.bool_))


class OwnStore:
    def __init__(self) -> None:
        self.kept: dict[str, tuple[Run, list[SignalBatch], Evidence]] = {}

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        _, batches, known = self.kept.get(run.id, (run, [], evidence))
        self.kept[run.id] = (run, [*batches, signals], known.join(evidence))

    def runs(self) -> list[Run]:
        return [run for run, _, _ in self.kept.values()]

    def evidence(self, run_id: str) -> Evidence:
        return self.kept[run_id][2]

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        yield from self.kept[run_id][1]

    def close(self) -> None:
        pass


class InOrder:
    def score(self, candidates: Candidates, rng: np.random.Generator) -> np.ndarray:
        return -candidates.rows.astype(np.float64)


def own_stages() -> dict[str, Any]:
    """Return one of each, as `UnifiedPipeline` takes them."""
    return {
        "injector": OwnInjector(),
        "receiver": OwnReceiver(),
        "processors": [DropsSyscalls()],
        "store": OwnStore(),
        "policy": InOrder(),
    }


def breaking(stage: object, method: str, error: Exception) -> None:
    """Let a method raise from now on."""

    def broken(*args: Any, **named: Any) -> Any:
        raise error

    setattr(stage, method, broken)
