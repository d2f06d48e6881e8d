"""Attaching code: many places of one binary by one uprobe_multi link, whether functions or USDT probes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_libbpf.attaching.attacher import Refusal
from ebpf_bot_libbpf.attaching.closing import Closer
from ebpf_bot_libbpf.attaching.handover import Handover
from ebpf_bot_libbpf.attaching.held_binary import HeldBinary
from ebpf_bot_libbpf.attaching.isolation import isolate
from ebpf_bot_libbpf.costing.costs import Costs
from ebpf_bot_libbpf.costing.places import LONGEST, places
from ebpf_bot_libbpf.kernel import syscalls
from ebpf_bot_libbpf.kernel.descriptors import refuse_if_scarce
from ebpf_bot_libbpf.kernel.kernel_error import KernelError
from ebpf_bot_libbpf.kernel.programs import Asset, Programs
from ebpf_bot_libbpf.sites import CodeKind, SiteGroup

__all__ = ["CodePlaces"]

_PLACES: Final = 1 << 20
"""How many places one link can hold: MAX_UPROBE_MULTI_CNT."""
_NOT_OF_A_PLACE: Final = (Reason.PERMISSION, Reason.KERNEL_CONFIG, Reason.ATTACH_LIMIT)
"""What has nothing to do with the place that was to be probed."""


@attrs.frozen(eq=False)
class _Link:
    """What holds some members: a link for each program that they have.

    Attributes:
        number: the upper half of the links' cookies.
    """

    fds: Sequence[int]
    number: int
    members: NDArray[np.intp]


class CodePlaces:
    """Places in one binary, or the returns from there; an `Attacher`. Kernel 6.6.

    While a place is attached, the kernel holds its semaphore up in every process that maps the file.

    Args:
        counted_by: shape (n,), of each place the number of the site that counts it; 0 for those that are never
            attached. No place may be there twice, since a handover tells threads apart, not sites.
    """

    def __init__(
        self,
        group: SiteGroup,
        kind: CodeKind,
        binary: HeldBinary,
        programs: Programs,
        closer: Closer,
        *,
        counted_by: NDArray[np.intp],
        handover: Handover,
        costs: Costs,
    ) -> None:
        self._serving = _programs_for(kind, programs.asset)
        self._on_return = kind.on_return
        self._binary = binary
        self._programs = programs
        self._closer = closer
        self._handover = handover
        self._costs = costs
        self._offsets = np.array(group.keys, np.uint64)
        self._semaphores = np.array([group.semaphores.get(key, 0) for key in group.keys], np.uint64)
        self._counted_by = counted_by
        self._links: list[_Link] = []

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members; those that the kernel refuses are found and left out."""
        refusal = self._binary.open()
        if refusal is not None:
            return dict.fromkeys(members.tolist(), refusal)
        code = self._binary.code(self._offsets[members], LONGEST)
        self._costs.place(self._counted_by[members], places(code), on_return=self._on_return)
        with self._binary.mapped():
            refused = self._attach_most(members)
        return {member: self._locate(member, why) for member, why in refused.items()}

    def detach(self, members: NDArray[np.intp]) -> None:
        """Step off members: each link that holds some is followed by one on those of its places that stay."""
        leaving = np.zeros(len(self._offsets), np.bool_)
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

    def _attach_most(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Link all members that can be; return those that cannot."""
        try:
            refuse_if_scarce("attach uprobes")
            self._links += self._link(members)
        except KernelError as error:
            for_all = _why_none(error)
            if for_all is not None:
                return dict.fromkeys(members.tolist(), for_all)
        else:
            return {}
        bad = isolate(members, self._try)
        refused = {member: Refusal.of(error) for member, error in bad.items()}
        accepted = np.setdiff1d(members, np.fromiter(bad, np.intp, len(bad)))
        try:
            self._links += self._link(accepted)
        except KernelError as error:
            return refused | dict.fromkeys(accepted.tolist(), Refusal.of(error))
        return refused

    def _link(self, members: NDArray[np.intp]) -> list[_Link]:
        links: list[_Link] = []
        try:
            for start in range(0, len(members), _PLACES):
                part, number = members[start : start + _PLACES], self._handover.number()
                links.append(_Link(self._attach_hits(part, number), number, part))
        except KernelError:
            for link in links:
                self._closer.close(link.fds)
            raise
        return links

    def _attach_hits(self, members: NDArray[np.intp], number: int) -> list[int]:
        fds: list[int] = []
        try:
            for program, on_return in self._serving:
                fds.append(self._link_once(program, members, number, on_return=on_return))
        except KernelError:
            self._closer.close(fds)
            raise
        return fds

    def _try(self, members: NDArray[np.intp]) -> None:
        """Attach and detach a program that does nothing, so that no hit is counted twice meanwhile."""
        self._closer.close([self._link_once("uprobe_trial", members, 0, on_return=self._on_return)])

    def _link_once(self, program: str, members: NDArray[np.intp], number: int, *, on_return: bool) -> int:
        return syscalls.attach_uprobes(
            self._programs[program],
            self._binary.path,
            self._offsets[members],
            self._counted_by[members].astype(np.uint64) | np.uint64(number << 32),
            on_return=on_return,
            semaphores=self._semaphores[members],
        )

    def _locate(self, member: int, refusal: Refusal) -> Refusal:
        if refusal.reason in _NOT_OF_A_PLACE:
            return refusal
        return Refusal(refusal.reason, f"at file offset {int(self._offsets[member]):#x}: {refusal.detail}")


def _why_none(error: KernelError) -> Refusal | None:
    """Return why no uprobe can be attached at all, or None where it may be for some of them alone."""
    refusal = Refusal.of(error)
    return refusal if refusal.reason in _NOT_OF_A_PLACE else None


def _programs_for(kind: CodeKind, asset: Asset) -> tuple[tuple[str, bool], ...]:
    if kind.of_notes:
        return asset.on_usdt
    return asset.on_return if kind.on_return else asset.on_entry
