"""Attaching code: many places of one binary by one uprobe_multi link, whether functions or USDT probes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_linux.attaching.attacher import Refusal
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.attaching.handover import Handover
from ebpf_bot_linux.attaching.held_binary import HeldBinary
from ebpf_bot_linux.attaching.many_at_once import ManyAtOnce
from ebpf_bot_linux.costing.costs import Costs
from ebpf_bot_linux.finding.emulation import LONGEST
from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.assets import Asset
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import CodeKind, SiteGroup

__all__ = ["CodePlaces"]

_NOT_OF_A_PLACE: Final = (Reason.PERMISSION, Reason.KERNEL_CONFIG, Reason.ATTACH_LIMIT)
"""What has nothing to do with the place that was to be probed."""


class CodePlaces(ManyAtOnce):
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
        super().__init__(group, counted_by, programs, closer, handover)
        self._serving = _programs_for(kind, programs.asset)
        self._on_return = kind.on_return
        self._binary = binary
        self._costs = costs
        self._offsets = np.array(group.keys, np.uint64)
        self._semaphores = np.array([group.semaphores.get(key, 0) for key in group.keys], np.uint64)

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members; those that the kernel refuses are found and left out."""
        refusal = self._binary.open()
        if refusal is not None:
            return dict.fromkeys(members.tolist(), refusal)
        code = self._binary.code(self._offsets[members], LONGEST)
        self._costs.place(self._counted_by[members], code, on_return=self._on_return)
        with self._binary.mapped():
            return super().attach(members)

    def _attach_hits(self, members: NDArray[np.intp], number: int) -> list[int]:
        fds: list[int] = []
        try:
            for program, on_return in self._serving:
                fds.append(self._link_once(program, members, number, on_return=on_return))
        except KernelError:
            self._closer.close(fds)
            raise
        return fds

    def _attach_trial(self, members: NDArray[np.intp]) -> list[int]:
        return [self._link_once("uprobe_trial", members, 0, on_return=self._on_return)]

    def _link_once(self, program: str, members: NDArray[np.intp], number: int, *, on_return: bool) -> int:
        return syscalls.attach_uprobes(
            self._programs[program],
            self._binary.path,
            self._offsets[members],
            self._cookies(members, number),
            on_return=on_return,
            semaphores=self._semaphores[members],
        )

    def _is_of_a_member(self, error: KernelError) -> bool:
        return Refusal.of(error).reason not in _NOT_OF_A_PLACE

    def _explain(self, member: int, error: KernelError) -> Refusal:
        refusal = Refusal.of(error)
        if refusal.reason in _NOT_OF_A_PLACE:
            return refusal
        return Refusal(refusal.reason, f"at file offset {int(self._offsets[member]):#x}: {refusal.detail}")


def _programs_for(kind: CodeKind, asset: Asset) -> tuple[tuple[str, bool], ...]:
    if kind.program:
        return ((kind.program, kind.on_return),)
    if kind.of_notes:
        return asset.on_usdt
    return asset.on_return if kind.on_return else asset.on_entry
