"""The coverage document: one or several runs folded into one map, ready to be written in any format."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from ebpf_bot_core.coverage import CoverageMap
from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.run import Run
from ebpf_bot_core.verdicts import Verdict

__all__ = ["CoverageDocument"]


@attrs.frozen(eq=False)
class CoverageDocument:
    """What a report shows.

    Attributes:
        runs: oldest first, at least one; host and plan of the document are those of the newest.
        coverage: all runs folded.
        backends: a probe's backend, in the order of `coverage.evidence`: that of the newest run that reached its
            verdict; None where none was tried.
    """

    runs: tuple[Run, ...]
    coverage: CoverageMap
    backends: tuple[str | None, ...]

    @property
    def overhead_ratio(self) -> float | None:
        """The share of one CPU that the probes cost their targets, over all runs that know; None where none does."""
        known = [
            (run.overhead_ratio * run.seconds, run.seconds)
            for run in self.runs
            if run.overhead_ratio is not None
        ]
        cost, seconds = (sum(column) for column in zip(*known, strict=True)) if known else (0.0, 0.0)
        return cost / seconds if seconds else None

    @classmethod
    def of(cls, runs: Sequence[tuple[Run, Evidence]]) -> CoverageDocument:
        """Fold runs and their evidence, oldest first."""
        folded = Evidence.fold([evidence for _, evidence in runs])
        verdict = folded.columns["verdict"]
        backends = np.full(len(folded), None, dtype=object)
        for run, evidence in runs:
            rows = folded.probes.positions(evidence.probes.names)
            reached = evidence.columns["verdict"] == verdict[rows]
            backends[rows[reached & (verdict[rows] != Verdict.PENDING)]] = run.backend
        return cls(tuple(run for run, _ in runs), CoverageMap(folded), tuple(backends.tolist()))
