"""Ledger: what the probes cost their targets, each and in sum, as far as the backend can estimate it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ledger"]

WINDOW_SECONDS: Final = 1.0
"""What happened this long ago weighs 1/e of what happens now."""


class Ledger:
    """Turns what probes have cost so far into rates: shares of one CPU over a window that slides.

    The window is exponential. With the cost c that came in a time t, a rate r becomes r·k + c/t·(1-k), k = exp(-t/1 s):
    one array a step, and after a probe was taken off its share of the window fades.

    Args:
        size: how many probes there are.

    Attributes:
        spent: shape (size,), CPU seconds that each has cost so far; NaN where no one can tell.
        rates: shape (size,), shares of one CPU; 0 where no one can tell.
    """

    def __init__(self, size: int) -> None:
        self.spent = np.full(size, np.nan)
        self.rates = np.zeros(size)
        self._paid = np.zeros(size)
        self._noted_ns = -1

    def note(self, cost: NDArray[np.float64], now_ns: int) -> None:
        """Take what `Injection.cost` says at a time; a cost that falls is taken as one that stays.

        Args:
            cost: shape (size,).
            now_ns: any clock that does not go back; rates begin with the second call.
        """
        paid = np.fmax(self._paid, cost)
        seconds = (now_ns - self._noted_ns) / 1e9 if self._noted_ns >= 0 else np.inf
        if seconds <= 0:
            return
        fading = np.exp(-seconds / WINDOW_SECONDS)
        self.rates = self.rates * fading + (paid - self._paid) / seconds * (1 - fading)
        self.spent = np.where(np.isnan(cost), self.spent, paid)
        self._paid = paid
        self._noted_ns = now_ns

    @property
    def ratio(self) -> float | None:
        """The share of one CPU that all probes cost now; None where no one can tell of any."""
        return float(self.rates.sum()) if not np.isnan(self.spent).all() else None

    @property
    def seconds(self) -> float | None:
        """The CPU seconds that all probes have cost so far; None where no one can tell of any."""
        return float(np.nansum(self.spent)) if not np.isnan(self.spent).all() else None
