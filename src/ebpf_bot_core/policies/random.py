"""random: every candidate has the same chance, whatever the plan says; an unbiased sample of the gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.policy import Candidates

__all__ = ["RandomPolicy"]


class RandomPolicy:
    """Scores at random, from the decision's seed."""

    def score(self, candidates: Candidates, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return one draw from [0, 1) for each candidate."""
        return rng.random(len(candidates))
