"""Handover: one link follows on another, and each hit between is counted once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.kernel.programs import Programs

__all__ = ["Handover"]


class Handover:
    """Numbers the links that hold many sites, and hands their sites over where every hit counts.

    How a hit is counted once while two links see it is told in handover.bpf.h of ebpf-bot-libbpf.

    Args:
        exact: whether hits must be counted once; else the old link is closed in the background meanwhile.

    Attributes:
        exact: likewise.
    """

    def __init__(self, programs: Programs, closer: Closer, *, exact: bool) -> None:
        self._programs = programs
        self._closer = closer
        self.exact = exact
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """Return a number that no other link has; it is the upper half of the link's cookies."""
        return next(self._numbers)

    def replace(
        self, old: Sequence[int], old_number: int, attach: Callable[[int], Sequence[int]]
    ) -> tuple[Sequence[int], int]:
        """Attach new links in place of old ones; return the new ones and the number that they share.

        Where hits must be exact this takes until the kernel has let go of the old ones, 30-60 ms.

        Args:
            old: the old links, which are closed; several where one cannot hold all.
            attach: attaches the new ones, under the number it is given; KernelError leaves the old ones as they are.
        """
        number = self.number()
        if not self.exact:
            links = attach(number)
            self._closer.close(old)
            return links, number
        self._closer.wait()
        self._programs.notes.clear()
        variables = self._programs.variables
        variables.set("link_to", number)
        variables.set("link_from", old_number)
        try:
            links = attach(number)
            self._closer.close(old)
            self._closer.wait()
        finally:
            variables.set("link_from", 0)
        return links, number
