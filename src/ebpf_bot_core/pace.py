"""Pace: how long to wait before the next step, and when the last one has come."""

from __future__ import annotations

import contextlib
import math
import os
import select
import time
from typing import Final

from ebpf_bot_core.run import Mode

__all__ = ["Pace"]

_SHORTEST: Final = 0.005
_LONGEST: Final = {Mode.COUNT: 0.25, Mode.STREAM: 0.1}
_MANY: Final = 4096
"""Signals of one step in stream mode that show that a buffer is filling."""


class Pace:
    """Waits between steps: short while something new fires, ever longer while nothing does.

    The first rounds of a run find the most, so they come fast; an idle run costs four steps a second. A step that
    found something starts over at 5 ms; each that did not doubles the wait up to 250 ms. In stream mode signals wait in a
    buffer of limited size, so there a step that brought thousands starts over too, and the longest wait is 100 ms.
    """

    def __init__(self, mode: Mode = Mode.COUNT) -> None:
        self._seconds = _SHORTEST
        self._mode = mode
        self._end = math.inf
        # Made by the first wait: a pipeline that is only stepped, and never closed, then holds no descriptor for it.
        self._wake = -1

    def found(self, news: int, signals: int = 0) -> None:
        """Take note of how many verdicts the last step changed, and how many signals it brought."""
        filling = self._mode is Mode.STREAM and signals >= _MANY
        self._seconds = _SHORTEST if news or filling else min(2 * self._seconds, _LONGEST[self._mode])

    @property
    def has_an_end(self) -> bool:
        """Whether `end_within` has set one."""
        return self._end < math.inf

    @property
    def time_is_up(self) -> bool:
        """Whether the end that `end_within` set has come."""
        return time.monotonic() >= self._end

    def end_within(self, seconds: float) -> None:
        """Set the end, unless an earlier one is set; safe in a signal handler, also while `wait` waits."""
        self._end = min(self._end, time.monotonic() + seconds)
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def wait(self, *, until_readable: int = -1) -> None:
        """Wait until the next step is due, the end has come, or a file descriptor becomes readable.

        Args:
            until_readable: such as a pidfd, which is readable once its process has ended; -1 for none.
        """
        if self._wake < 0:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if until_readable >= 0:
            poll.register(until_readable, select.POLLIN)
        poll.poll(max(0.0, min(self._seconds, self._end - time.monotonic())) * 1000)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def close(self) -> None:
        """Give back the file descriptor. May be called twice."""
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
