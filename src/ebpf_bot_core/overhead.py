"""The overhead limit: which probes must go because together they cost their targets too much, and which come back."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["OverheadLimit"]

_SETTLED: Final = 0.9
"""What is taken off brings the sum down to this part of the limit, so that the next breath does not exceed it again."""
_ROOM: Final = 0.5
"""Only below this part of the limit there is room for one to come back."""
_LONGEST: Final = 10
"""The time out doubles with each time that a probe must go, this often at most."""


class OverheadLimit:
    """Keeps what the attached probes cost under a share of one CPU.

    When they exceed it the costliest proven ones go first, then the costliest of the others. One that went stays out for
    a time that doubles each time, from twice a turn to 2^10 turns, and comes back when there is room: the
    cheapest first, and one at least, since what it cost back then says little of now.

    Args:
        ratio: the limit, a share of one CPU.
        turn_ns: how long a probe keeps its place.

    Attributes:
        ratio: the limit.
    """

    def __init__(self, ratio: float, turn_ns: int) -> None:
        self.ratio = ratio
        self._turn_ns = turn_ns
        self._out = np.zeros(0, np.bool_)
        self._due_ns = np.zeros(0, np.int64)
        self._times = np.zeros(0, np.int64)
        self._cost = np.zeros(0)

    def out(self, size: int) -> NDArray[np.bool_]:
        """Return where a probe is out, shape (size,)."""
        if len(self._out) != size:
            self._out = np.zeros(size, np.bool_)
            self._due_ns = np.zeros(size, np.int64)
            self._times = np.zeros(size, np.int64)
            self._cost = np.zeros(size)
        return self._out

    def take_off(
        self, rates: NDArray[np.float64], attached: NDArray[np.bool_], proven: NDArray[np.bool_], now_ns: int
    ) -> NDArray[np.intp]:
        """Return the attached probes that must go, the costliest proven one first; they are out from now on.

        Args:
            rates: shape (n,), the share of one CPU that each costs.
            attached: shape (n,), where one is attached, and is not about to go anyway.
            proven: shape (n,), where one has fired.
        """
        out = self.out(len(rates))
        load = float(rates[attached].sum())
        if load <= self.ratio:
            return np.zeros(0, np.intp)
        paying = np.flatnonzero(attached & (rates > 0))
        order = paying[np.lexsort((-rates[paying], ~proven[paying]))]
        left = load - np.cumsum(rates[order])
        going = order[: int(np.argmax(left <= self.ratio * _SETTLED)) + 1]
        # A probe that stayed within the limit for longer than it had been out begins anew.
        held = now_ns - self._due_ns[going]
        self._times[going] = np.where(held > self._time_out(going), 0, self._times[going]) + 1
        self._due_ns[going] = now_ns + self._time_out(going)
        self._cost[going] = rates[going]
        out[going] = True
        return going

    def let_back(
        self, rates: NDArray[np.float64], attached: NDArray[np.bool_], now_ns: int
    ) -> NDArray[np.intp]:
        """Return the probes that may come back now; they are not out any more. Arguments as for `take_off`."""
        out = self.out(len(rates))
        room = self.ratio * _ROOM - float(rates[attached].sum())
        # What is left of their own cost in the window comes back with them.
        due = np.flatnonzero(out & (self._due_ns <= now_ns) & (rates <= room))
        if room <= 0 or not len(due):
            return due[:0]
        cheapest = due[np.argsort(self._cost[due], kind="stable")]
        fitting = int(np.searchsorted(np.cumsum(self._cost[cheapest]), room, side="right"))
        back = cheapest[: max(1, fitting)]
        out[back] = False
        return back

    def _time_out(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        times: NDArray[np.int64] = self._turn_ns << np.minimum(self._times[rows], _LONGEST)
        return times
