"""Attaching sites many at once: all that come together are held by one link, or by one for each of their programs.

To take some out, a link on the rest follows on the old one, which is closed: the kernel waits once, however many go.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import partial
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.attaching.attacher import Refusal
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.attaching.handover import Handover
from ebpf_bot_linux.attaching.isolation import isolate
from ebpf_bot_linux.kernel.descriptors import refuse_if_scarce
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import SiteGroup

__all__ = ["ManyAtOnce"]

_MOST: Final = 1 << 20
"""How many sites one link can hold: MAX_UPROBE_MULTI_CNT, MAX_KPROBE_MULTI_CNT."""


@attrs.frozen(eq=False)
class _Link:
    """What holds some members: a link for each program that they have, or each way of naming them.

    Attributes:
        number: the upper half of the links' cookies.
    """

    fds: Sequence[int]
    number: int
    members: NDArray[np.intp]


class ManyAtOnce(abc.ABC):
    """An `Attacher` of sites that one link holds together, so that one that is refused is first to be found.

    Args:
        counted_by: shape (n,), of each member the number of the site that counts it.
    """

    def __init__(
        self,
        group: SiteGroup,
        counted_by: NDArray[np.intp],
        programs: Programs,
        closer: Closer,
        handover: Handover,
    ) -> None:
        self._group: Final = group
        self._counted_by: Final = counted_by
        self._programs: Final = programs
        self._closer: Final = closer
        self._handover = handover
        self._links: list[_Link] = []

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members; those that the kernel refuses are found and left out."""
        try:
            refuse_if_scarce("attach probes")
            self._links += self._link(members)
        except KernelError as error:
            if not self._is_of_a_member(error):
                return {member: self._explain(member, error) for member in members.tolist()}
        else:
            return {}
        bad = isolate(members, self._try)
        refused = {member: self._explain(member, error) for member, error in bad.items()}
        accepted = np.setdiff1d(members, np.fromiter(bad, np.intp, len(bad)))
        try:
            self._links += self._link(accepted)
        except KernelError as error:
            refused |= {member: self._explain(member, error) for member in accepted.tolist()}
        return refused

    def detach(self, members: NDArray[np.intp]) -> None:
        """Step off members: each link that holds some is followed by one on those of its members that stay."""
        leaving = np.zeros(len(self._group.keys), np.bool_)
        leaving[members] = True
        for link in list(self._links):
            staying = link.members[~leaving[link.members]]
            if len(staying) == len(link.members):
                continue
            if len(staying):
                attach = partial(self._attach_hits, staying)
                fds, number = self._handover.replace(link.fds, link.number, attach)
                self._links.append(_Link(fds, number, staying))
            else:
                self._closer.close(link.fds)
            self._links.remove(link)

    def close(self) -> None:
        """Begin to detach all."""
        for link in self._links:
            self._closer.close(link.fds)
        self._links = []

    @abc.abstractmethod
    def _attach_hits(self, members: NDArray[np.intp], number: int) -> list[int]:
        """Link what counts hits of members, under a number, and return the links.

        Raises:
            KernelError: nothing is attached.
        """

    @abc.abstractmethod
    def _attach_trial(self, members: NDArray[np.intp]) -> list[int]:
        """Link a program that does nothing; likewise."""

    @abc.abstractmethod
    def _is_of_a_member(self, error: KernelError) -> bool:
        """Whether the kernel may have refused a whole batch for some of its members alone."""

    @abc.abstractmethod
    def _explain(self, member: int, error: KernelError) -> Refusal:
        """Return what the kernel's answer means for a member."""

    def _cookies(self, members: NDArray[np.intp], number: int) -> NDArray[np.uint64]:
        return self._counted_by[members].astype(np.uint64) | np.uint64(number << 32)

    def _link(self, members: NDArray[np.intp]) -> list[_Link]:
        links: list[_Link] = []
        try:
            for start in range(0, len(members), _MOST):
                part, number = members[start : start + _MOST], self._handover.number()
                links.append(_Link(self._attach_hits(part, number), number, part))
        except KernelError:
            for link in links:
                self._closer.close(link.fds)
            raise
        return links

    def _try(self, members: NDArray[np.intp]) -> None:
        """Attach and detach a program that does nothing, so that no hit is counted twice meanwhile."""
        self._closer.close(self._attach_trial(members))
