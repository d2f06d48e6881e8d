"""From the clock of the kernel's programs to the time of day."""

from __future__ import annotations

import time
from typing import Final

__all__ = ["BootClock"]

_TRIES: Final = 5
_STEP_NS: Final = 1_000_000


class BootClock:
    """Says how many ns to add to `bpf_ktime_get_boot_ns` (CLOCK_BOOTTIME, kernel 5.8) for ns since the Unix epoch.

    Both clocks are slewed alike, and this one goes on while the machine sleeps, so the difference is constant until
    somebody sets the time of day. It is measured anew at each look, and taken over only where it has moved by a
    millisecond or more: what is less is the noise of measuring, and would disorder neighbouring records.
    """

    def __init__(self) -> None:
        self._offset = _measure()

    @property
    def offset(self) -> int:
        """The difference as of now."""
        measured = _measure()
        if abs(measured - self._offset) >= _STEP_NS:
            self._offset = measured
        return self._offset


def _measure() -> int:
    """Return time of day minus CLOCK_BOOTTIME, of the tightest of some tries."""
    best = []
    for _ in range(_TRIES):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        now = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        best.append((after - before, now - (before + after) // 2))
    return min(best)[1]
