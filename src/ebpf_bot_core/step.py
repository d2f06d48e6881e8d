"""Step: one finished turn of the loop."""

from __future__ import annotations

import attrs

from ebpf_bot_core.coverage import CoverageMap, VerdictChanges
from ebpf_bot_core.orchestrator import Decision

__all__ = ["Step"]


@attrs.frozen(eq=False)
class Step:
    """One finished turn of the loop.

    Attributes:
        number: from 1.
        signals: how often probes fired.
        lost: how many signals were lost.
        changes: the verdicts that changed.
        coverage: the map after the step; it grows with later steps.
        seconds: how long the step took.
    """

    number: int
    decision: Decision
    signals: int
    lost: int
    changes: VerdictChanges
    coverage: CoverageMap
    seconds: float
