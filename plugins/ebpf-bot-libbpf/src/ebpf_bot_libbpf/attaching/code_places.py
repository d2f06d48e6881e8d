"""Attaching code: many places of one binary by one uprobe_multi link, whether functions or USDT probes."""

from __future__ import annotations

import errno
import platform
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_libbpf.attaching.attacher import Refusal
from ebpf_bot_libbpf.attaching.closing import Closer
from ebpf_bot_libbpf.attaching.held_binary import HeldBinary
from ebpf_bot_libbpf.attaching.isolation import isolate
from ebpf_bot_libbpf.features import try_uprobe_multi
from ebpf_bot_libbpf.kernel import syscalls
from ebpf_bot_libbpf.kernel.descriptors import refuse_if_scarce
from ebpf_bot_libbpf.kernel.kernel_error import KernelError
from ebpf_bot_libbpf.kernel.programs import Asset, Programs
from ebpf_bot_libbpf.sites import CodeKind, SiteGroup

__all__ = ["CodePlaces"]

_LINK_LIMIT: Final = 1 << 20
"""MAX_UPROBE_MULTI_CNT: how many places one link can hold."""
_NOT_OF_A_PLACE: Final = (Reason.PERMISSION, Reason.KERNEL_CONFIG, Reason.ATTACH_LIMIT)
"""What has nothing to do with the place that was to be probed."""


class CodePlaces:
    """Places in one binary, or the returns from there; an `Attacher`. Kernel 6.6.

    While a place is attached, the kernel holds its semaphore up in every process that maps the file.
    """

    def __init__(
        self, group: SiteGroup, kind: CodeKind, binary: HeldBinary, programs: Programs, closer: Closer
    ) -> None:
        self._serving = _programs_for(kind, programs.asset)
        self._on_return = kind.on_return
        self._binary = binary
        self._programs = programs
        self._closer = closer
        self._offsets = np.array(group.keys, np.uint64)
        self._semaphores = np.array([group.semaphores.get(key, 0) for key in group.keys], np.uint64)
        self._first = group.first
        self._attached = np.zeros(len(self._offsets), np.bool_)
        self._links: list[int] = []

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members; those that the kernel refuses are found and left out."""
        refusal = self._binary.open()
        if refusal is not None:
            return dict.fromkeys(members.tolist(), refusal)
        with self._binary.mapped():
            refused = self._attach_most(members)
        self._attached[members] = True
        self._attached[list(refused)] = False
        return {member: self._locate(member, why) for member, why in refused.items()}

    def detach(self, members: NDArray[np.intp]) -> None:
        """Step off members: first a link on those that stay, then the old ones are closed."""
        staying = self._attached.copy()
        staying[members] = False
        old = self._links
        self._links = self._link(np.flatnonzero(staying))
        self._attached = staying
        self._closer.close(old)

    def close(self) -> None:
        """Begin to detach all."""
        self._closer.close(self._links)
        self._links = []
        self._attached[:] = False

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

    def _link(self, members: NDArray[np.intp]) -> list[int]:
        links: list[int] = []
        try:
            for program, on_return in self._serving:
                for start in range(0, len(members), _LINK_LIMIT):
                    part = members[start : start + _LINK_LIMIT]
                    links += [self._link_once(program, part, on_return=on_return)]
        except KernelError:
            self._closer.close(links)
            raise
        return links

    def _try(self, members: NDArray[np.intp]) -> None:
        """Attach and detach a program that does nothing, so that no hit is counted twice meanwhile."""
        self._closer.close([self._link_once("uprobe_trial", members, on_return=self._on_return)])

    def _link_once(self, program: str, members: NDArray[np.intp], *, on_return: bool) -> int:
        return syscalls.attach_uprobes(
            self._programs[program],
            self._binary.path,
            self._offsets[members],
            (members + self._first).astype(np.uint64),
            on_return=on_return,
            semaphores=self._semaphores[members],
        )

    def _locate(self, member: int, refusal: Refusal) -> Refusal:
        if refusal.reason in _NOT_OF_A_PLACE:
            return refusal
        return Refusal(refusal.reason, f"at file offset {int(self._offsets[member]):#x}: {refusal.detail}")


def _programs_for(kind: CodeKind, asset: Asset) -> tuple[tuple[str, bool], ...]:
    if kind.of_notes:
        return asset.on_usdt
    return asset.on_return if kind.on_return else asset.on_entry


def _why_none(error: KernelError) -> Refusal | None:
    """Return why no uprobe can be attached at all, or None where it may be for some of them alone."""
    if error.errno == errno.EINVAL and try_uprobe_multi() is not None:
        detail = f"uprobe_multi needs kernel 6.6, this is {platform.release()}"
        return Refusal(Reason.KERNEL_CONFIG, detail)
    refusal = Refusal.of(error)
    return refusal if refusal.reason in _NOT_OF_A_PLACE else None
