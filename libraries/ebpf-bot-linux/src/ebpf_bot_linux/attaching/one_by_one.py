"""Attaching sites that need a link each, or several."""

from __future__ import annotations

import abc
import os
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.attaching.attacher import Refusal
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.descriptors import refuse_if_scarce
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import SiteGroup

__all__ = ["Held", "OneByOne", "link_event"]


@attrs.frozen
class Held:
    """What keeps one site attached.

    Attributes:
        links: their descriptors.
        copy: the descriptor of the site's own program, which `Programs` owns, if it has one.
    """

    links: tuple[int, ...]
    copy: int | None = None


class OneByOne(abc.ABC):
    """An `Attacher` of sites that need links of their own, so that one that is refused concerns no other."""

    def __init__(self, group: SiteGroup, programs: Programs, closer: Closer) -> None:
        self._group: Final = group
        self._programs: Final = programs
        self._closer = closer
        self._held: dict[int, Held] = {}

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members, each on its own."""
        refused = {}
        for member in members.tolist():
            try:
                refuse_if_scarce("attach")
                self._held[member] = self._hold(member)
            except KernelError as error:
                refused[member] = self._explain(error)
        return refused

    def detach(self, members: NDArray[np.intp]) -> None:
        """Begin to detach members."""
        for held in [self._held.pop(member) for member in members.tolist()]:
            self._closer.close(held.links)
            if held.copy is not None:
                self._programs.drop_copy(held.copy)

    def close(self) -> None:
        """Begin to detach all."""
        self.detach(np.array(list(self._held), np.intp))

    @abc.abstractmethod
    def _hold(self, member: int) -> Held:
        """Attach one; KernelError if it cannot be."""

    def _explain(self, error: KernelError) -> Refusal:
        return Refusal.of(error)


def link_event(program: int, event: int, site: int) -> int:
    """Attach a program to a perf event, which the link then keeps, and return the link.

    Args:
        event: its descriptor, which is closed in any case.
    """
    try:
        return syscalls.attach_perf_event(program, event, cookie=site)
    finally:
        os.close(event)
