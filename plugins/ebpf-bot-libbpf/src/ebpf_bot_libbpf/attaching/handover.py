"""Handover: one link follows on another, and each hit between is counted once."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ebpf_bot_libbpf.attaching.closing import Closer
from ebpf_bot_libbpf.kernel.programs import Programs

__all__ = ["Handover"]


class Handover:
    """Numbers the links on places in code, and hands their places over where every hit counts.

    How a hit is counted once while two links see it is told in kernel/bpf/handover.bpf.h.

    Args:
        exact: whether hits must be counted once; else the old link is closed in the background meanwhile.
    """

    def __init__(self, programs: Programs, closer: Closer, *, exact: bool) -> None:
        self._programs = programs
        self._closer = closer
        self._exact = exact
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """Return a number that no other link has; it is the upper half of the link's cookies."""
        return next(self._numbers)

    def replace(self, old: int, old_number: int, attach: Callable[[int], int]) -> tuple[int, int]:
        """Attach a new link in place of an old one; return the new link and its number.

        Where hits must be exact this takes until the kernel has let go of the old link, 30-60 ms.

        Args:
            old: the old link, which is closed.
            attach: attaches the new link, under the number it is given; KernelError leaves the old one as it is.
        """
        number = self.number()
        if not self._exact:
            link = attach(number)
            self._closer.close([old])
            return link, number
        self._closer.wait()
        self._programs.notes.clear()
        variables = self._programs.variables
        variables.set("link_to", number)
        variables.set("link_from", old_number)
        try:
            link = attach(number)
            self._closer.close([old])
            self._closer.wait()
        finally:
            variables.set("link_from", 0)
        return link, number
