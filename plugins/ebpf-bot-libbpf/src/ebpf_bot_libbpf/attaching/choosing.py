"""Choosing how each group of sites is attached, by what the sites are and by what the kernel can do."""

from __future__ import annotations

from ebpf_bot_libbpf.attaching.attacher import Attacher
from ebpf_bot_libbpf.attaching.closing import Closer
from ebpf_bot_libbpf.attaching.code_events import CodeEvents
from ebpf_bot_libbpf.attaching.code_places import CodePlaces
from ebpf_bot_libbpf.attaching.handover import Handover
from ebpf_bot_libbpf.attaching.held_binary import HeldBinary
from ebpf_bot_libbpf.attaching.kernel_events import (
    RawTracepointCopies,
    RawTracepoints,
    SoftwareEvents,
    SyscallExits,
    Syscalls,
    Tracepoints,
)
from ebpf_bot_libbpf.attaching.kernel_functions import Fentries, KprobeEvents, KprobeLinks
from ebpf_bot_libbpf.attaching.unserved import NEEDS_COOKIES, NEEDS_UPROBE_MULTI, NO_RECORDS, Unserved
from ebpf_bot_libbpf.costing.costs import Costs
from ebpf_bot_libbpf.features import Features
from ebpf_bot_libbpf.kernel.programs import STREAMING, Programs
from ebpf_bot_libbpf.points import (
    FentryPoint,
    KernelPoint,
    KprobePoint,
    RawTracepointPoint,
    SoftwarePoint,
    SyscallExitPoint,
    SyscallPoint,
    TracepointPoint,
)
from ebpf_bot_libbpf.sites import CodeKind, SiteGroup

__all__ = ["of_binary", "of_kernel"]

_WITH_RECORDS = (TracepointPoint, RawTracepointPoint, SyscallPoint)
"""What of the kernel stream mode has programs for."""


def of_binary(
    group: SiteGroup,
    kind: CodeKind,
    binary: HeldBinary,
    programs: Programs,
    closer: Closer,
    *,
    features: Features,
    handover: Handover,
    costs: Costs,
) -> Attacher:
    """Return what attaches places in a binary."""
    if features.uprobe_multi:
        return CodePlaces(group, kind, binary, programs, closer, handover=handover, costs=costs)
    if programs.asset is STREAMING:
        return Unserved(NEEDS_UPROBE_MULTI)
    return CodeEvents(group, binary, programs, closer, on_return=kind.on_return)


def of_kernel(
    group: SiteGroup, point: type[KernelPoint], programs: Programs, closer: Closer, features: Features
) -> Attacher:
    """Return what attaches events and functions of the kernel that points of one type name."""
    if programs.asset is STREAMING and point not in _WITH_RECORDS:
        return Unserved(NO_RECORDS)
    if programs.asset is STREAMING and point is RawTracepointPoint and not features.raw_cookies:
        return Unserved(NEEDS_COOKIES)
    attachers: dict[type[KernelPoint], type[_KernelAttacher]] = {
        TracepointPoint: Tracepoints,
        RawTracepointPoint: RawTracepoints if features.raw_cookies else RawTracepointCopies,
        SyscallPoint: Syscalls,
        SyscallExitPoint: SyscallExits,
        KprobePoint: KprobeLinks if features.kprobe_multi else KprobeEvents,
        FentryPoint: Fentries,
        SoftwarePoint: SoftwareEvents,
    }
    return attachers[point](group, programs, closer)


_KernelAttacher = (
    Tracepoints | RawTracepoints | Syscalls | KprobeLinks | KprobeEvents | Fentries | SoftwareEvents
)
