"""Stepping off: when it pays to take off the probes that have proven themselves."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.ledger import Ledger

__all__ = ["SteppingOff"]

_LONGEST_WAIT_NS: Final = 1_000_000_000


class SteppingOff:
    """Decides which steps make a round of stepping off, in which all proven probes are taken off at once.

    A round costs about as much whether it takes off one probe or a thousand, because those that stay are attached
    anew. It is made once the proven probes have cost their targets as much since the last round as a round costs: then
    waiting and acting cost the same, and no schedule that cannot see the future is better than twice the best (this is
    the ski rental problem). The first rounds come at once, since nothing is known of their cost. What is cheap goes
    after a second at the latest, and where no one can tell what probes cost, every step with news makes a round.
    """

    def __init__(self) -> None:
        self._round_seconds = 0.0
        self._base = np.zeros(0)
        self._waiting_since = -1

    def is_due(self, proven: NDArray[np.intp], ledger: Ledger, now_ns: int) -> bool:
        """Say whether a round should be made now.

        Args:
            proven: the probes that have fired and are still attached.
        """
        wasted = self._wasted(proven, ledger.spent)
        if not len(proven):
            self._waiting_since = -1
            return False
        if self._waiting_since < 0:
            self._waiting_since = now_ns
        waited = now_ns - self._waiting_since >= _LONGEST_WAIT_NS
        due = bool(np.isnan(wasted)) or wasted >= self._round_seconds or waited
        if due:
            self._waiting_since = -1
        return due

    def took(self, seconds: float) -> None:
        """Take note of the CPU time that a round took; the cheapest of late tells best what one must cost."""
        self._round_seconds = min(seconds, 2 * self._round_seconds) if self._round_seconds else seconds

    def _wasted(self, proven: NDArray[np.intp], spent: NDArray[np.float64]) -> float:
        """Return the CPU seconds that proven probes have cost since the step in which they fired."""
        if len(self._base) != len(spent):
            self._base = np.zeros(len(spent))
        wasted = float((spent[proven] - self._base[proven]).sum())
        waiting = self._base[proven]
        self._base = np.nan_to_num(spent)
        self._base[proven] = waiting
        return wasted
