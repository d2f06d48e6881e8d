"""round-robin: every candidate gets its turn, in the plan's order, before any gets a second one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.policy import Candidates

__all__ = ["RoundRobinPolicy"]


class RoundRobinPolicy:
    """Scores by how often a probe has had its turn: fewer turns first."""

    def score(self, candidates: Candidates, rng: np.random.Generator) -> NDArray[np.float64]:  # noqa: ARG002
        """Return minus the number of turns; equal scores keep the plan's order."""
        return -candidates.rounds.astype(np.float64)
