"""What a policy is: it scores the probes that could be attached next."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.coverage import CoverageBot
from ebpf_bot_core.probe import ProbeTable

__all__ = ["Candidates", "Policy"]


@attrs.frozen(eq=False)
class Candidates:
    """The probes that may be attached next: those that can fire and have not. All arrays have shape (n,).

    What a policy does not look at is not computed.

    Attributes:
        probes: the whole table; `rows` are indexes into it, ascending.
        step: the number of the step, from 1.
        attached: where a probe is attached now.
    """

    probes: ProbeTable
    rows: NDArray[np.intp]
    step: int
    attached: NDArray[np.bool_]
    _bot: CoverageBot

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def priority(self) -> NDArray[np.float64]:
        """What the plan says of each; the higher is the more important."""
        return self._bot.priority[self.rows]

    @property
    def rounds(self) -> NDArray[np.int64]:
        """How often each has been attached so far."""
        return self._bot.rounds[self.rows]

    @property
    def live_ns(self) -> NDArray[np.int64]:
        """How long each has been attached in all."""
        live: NDArray[np.int64] = self._bot.evidence.columns["live_ns"][self.rows]
        return live

    @property
    def opportunities(self) -> NDArray[np.uint64]:
        """How often the code around each has been loaded or run."""
        opportunities: NDArray[np.uint64] = self._bot.evidence.columns["opportunities"][self.rows]
        return opportunities


@runtime_checkable
class Policy(Protocol):
    """Ranks candidates. It decides nothing else: the budget cuts, the orchestrator keeps slots from churning."""

    def score(self, candidates: Candidates, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return a score for each candidate, shape (len(candidates),), finite; the highest is attached first.

        It must depend on its arguments alone, so that a decision can be replayed from its seed: all chance comes
        from `rng`. Equal scores keep the plan's order. Called once a step; 100,000 candidates must take a few ms.
        """
        ...
