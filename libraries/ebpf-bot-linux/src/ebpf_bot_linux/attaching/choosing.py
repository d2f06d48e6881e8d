"""Choosing how each group of sites is attached, by what the sites are and by what the kernel can do."""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.attaching.attacher import Attacher
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.attaching.code_events import CodeEvents
from ebpf_bot_linux.attaching.code_places import CodePlaces
from ebpf_bot_linux.attaching.handover import Handover
from ebpf_bot_linux.attaching.held_binary import HeldBinary
from ebpf_bot_linux.attaching.kernel_events import (
    RawTracepointCopies,
    RawTracepoints,
    SoftwareEvents,
    SyscallExits,
    Syscalls,
    Tracepoints,
)
from ebpf_bot_linux.attaching.kernel_functions import Fentries, KprobeEvents, KprobeLinks, KretprobeLinks
from ebpf_bot_linux.attaching.loads import LoadSite
from ebpf_bot_linux.attaching.unserved import NEEDS_COOKIES, NEEDS_UPROBE_MULTI, NO_RECORDS, Unserved
from ebpf_bot_linux.costing.costs import Costs
from ebpf_bot_linux.features import Features
from ebpf_bot_linux.kernel.assets import STREAMING
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.points import (
    FentryPoint,
    KernelPoint,
    KprobePoint,
    RawTracepointPoint,
    SoftwarePoint,
    SyscallExitPoint,
    SyscallPoint,
    TracepointPoint,
)
from ebpf_bot_linux.sites import CodeKind, SiteGroup

__all__ = ["Attachers"]

_WITH_RECORDS = (TracepointPoint, RawTracepointPoint, SyscallPoint)
"""What of the kernel stream mode has programs for."""


@attrs.frozen
class Attachers:
    """Makes what attaches the sites of one injection."""

    programs: Programs
    closer: Closer
    features: Features
    handover: Handover
    costs: Costs

    def of_binary(
        self, group: SiteGroup, kind: CodeKind, counted_by: NDArray[np.intp], binary: HeldBinary
    ) -> Attacher:
        """Return what attaches places in a binary; `counted_by` as for `CodePlaces`."""
        if self.features.uprobe_multi:
            return CodePlaces(
                group,
                kind,
                binary,
                self.programs,
                self.closer,
                counted_by=counted_by,
                handover=self.handover,
                costs=self.costs,
            )
        if self.programs.asset is STREAMING:
            return Unserved(NEEDS_UPROBE_MULTI)
        return CodeEvents(group, counted_by, binary, self.programs, self.closer, costs=self.costs)

    def of_kernel(self, group: SiteGroup, point: type[KernelPoint]) -> Attacher:
        """Return what attaches events and functions of the kernel that points of one type name."""
        if self.programs.asset is STREAMING and point not in _WITH_RECORDS:
            return Unserved(NO_RECORDS)
        if self.programs.asset is STREAMING and point is RawTracepointPoint and not self.features.raw_cookies:
            return Unserved(NEEDS_COOKIES)
        # A program that is not the asset's knows its one site in any case.
        by_cookie = self.features.raw_cookies and not group.kind.program
        counts_each_return = self.handover.exact and group.kind.on_return
        if point is KprobePoint and self.features.kprobe_multi and not counts_each_return:
            return KprobeLinks(group, self.programs, self.closer, self.handover)
        attachers: dict[type[KernelPoint], type[_KernelAttacher]] = {
            TracepointPoint: Tracepoints,
            RawTracepointPoint: RawTracepoints if by_cookie else RawTracepointCopies,
            SyscallPoint: Syscalls,
            SyscallExitPoint: SyscallExits,
            KprobePoint: KretprobeLinks if self.features.kprobe_multi else KprobeEvents,
            FentryPoint: Fentries,
            SoftwarePoint: SoftwareEvents,
        }
        return attachers[point](group, self.programs, self.closer)

    def of_loads(self, site: int, binary: HeldBinary) -> LoadSite:
        """Return what counts at one site how often a binary is loaded."""
        return LoadSite(site, binary, self.programs, self.closer, self.features)


_KernelAttacher = (
    Tracepoints | RawTracepoints | Syscalls | KretprobeLinks | KprobeEvents | Fentries | SoftwareEvents
)
