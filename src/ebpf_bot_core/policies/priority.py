"""priority: what the plan calls more important first; among equals, what has had the least time to fire."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.policy import Candidates

__all__ = ["PriorityPolicy"]


class PriorityPolicy:
    """Scores by the plan's priority, less a penalty below 1 that grows with the time a probe was live in vain.

    score = priority - t / (t + 1 s), so that probes of one priority take turns, and a probe whose priority is higher
    by 1 or more always comes before.
    """

    def score(self, candidates: Candidates, rng: np.random.Generator) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the scores; nothing is left to chance."""
        seconds = candidates.live_ns / 1e9
        score: NDArray[np.float64] = candidates.priority - seconds / (seconds + 1)
        return score
