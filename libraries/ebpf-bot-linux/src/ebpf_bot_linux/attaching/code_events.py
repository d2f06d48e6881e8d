"""Attaching code where the kernel has no uprobe_multi: a perf event for each place."""

from __future__ import annotations

import errno

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_linux.attaching.attacher import Refusal
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.attaching.held_binary import HeldBinary
from ebpf_bot_linux.attaching.one_by_one import Held, OneByOne, link_event
from ebpf_bot_linux.costing.costs import Costs
from ebpf_bot_linux.finding.emulation import LONGEST
from ebpf_bot_linux.kernel import perf_events
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import SiteGroup

__all__ = ["CodeEvents"]


class CodeEvents(OneByOne):
    """Places in one binary, or the returns from there, as perf events; counts what `CodePlaces` would.

    Kernel 5.17 (CONFIG_UPROBE_EVENTS), CAP_SYS_ADMIN besides CAP_BPF and CAP_PERFMON. The kernel closes them one after
    the other, 25-100 ms each, since it waits for all CPUs under one lock; so detaching is begun, and goes on meanwhile.

    Args:
        counted_by: as for `CodePlaces`.
    """

    def __init__(
        self,
        group: SiteGroup,
        counted_by: NDArray[np.intp],
        binary: HeldBinary,
        programs: Programs,
        closer: Closer,
        *,
        costs: Costs,
    ) -> None:
        super().__init__(group, programs, closer)
        self._counted_by = counted_by
        self._binary = binary
        self._costs = costs
        self._offsets = np.array(group.keys, np.uint64)

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members, each on its own."""
        refusal = self._binary.open()
        if refusal is not None:
            return dict.fromkeys(members.tolist(), refusal)
        code = self._binary.code(self._offsets[members], LONGEST)
        self._costs.place(self._counted_by[members], code, on_return=self._group.kind.on_return)
        with self._binary.mapped():
            return super().attach(members)

    def _hold(self, member: int) -> Held:
        offset = int(self._offsets[member])
        semaphore = self._group.semaphores.get(offset, 0)
        event = perf_events.open_place(
            self._binary.path, offset, on_return=self._group.kind.on_return, semaphore=semaphore
        )
        program = self._programs[self._group.kind.program or "event_hit"]
        return Held((link_event(program, event, int(self._counted_by[member])),))

    def _explain(self, error: KernelError) -> Refusal:
        if error.errno in (errno.EACCES, errno.EPERM):
            return Refusal(
                Reason.PERMISSION,
                "a kernel before 6.6 takes uprobes from CAP_SYS_ADMIN alone, as perf events",
            )
        return super()._explain(error)
