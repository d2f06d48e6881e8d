"""What a policy is: it scores the probes that could be attached next."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.probe import ProbeTable

__all__ = ["Candidates", "Policy"]


@attrs.frozen(eq=False)
class Candidates:
    """The probes that may be attached next: those that can fire and have not. All arrays have shape (n,).

    Attributes:
        probes: the whole table; `rows` are indexes into it, ascending.
        priority: what the plan says.
        attached: where a probe is attached now.
        rounds: how often each has been attached so far.
        live_ns: how long each has been attached in all.
        opportunities: how often the code around each has been loaded or run.
        step: the number of the step, from 1.
    """

    probes: ProbeTable
    rows: NDArray[np.intp]
    priority: NDArray[np.float64]
    attached: NDArray[np.bool_]
    rounds: NDArray[np.int64]
    live_ns: NDArray[np.int64]
    opportunities: NDArray[np.uint64]
    step: int

    def __len__(self) -> int:
        return len(self.rows)


@runtime_checkable
class Policy(Protocol):
    """Ranks candidates. It decides nothing else: the budget cuts, the orchestrator keeps slots from churning."""

    def score(self, candidates: Candidates, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return a score for each candidate, shape (len(candidates),), finite; the highest is attached first.

        It must depend on its arguments alone, so that a decision can be replayed from its seed: all chance comes
        from `rng`. Equal scores keep the plan's order. Called once a step; 100,000 candidates must take a few ms.
        """
        ...
