"""As what a program must be loaded to be attached at sites of a kind, where it is not one of the asset's own."""

from __future__ import annotations

from typing import Final

import attrs

from ebpf_bot_linux.features import Features
from ebpf_bot_linux.kernel.abi import AttachType, ProgramType
from ebpf_bot_linux.points import KprobePoint, RawTracepointPoint, SoftwarePoint, TracepointPoint
from ebpf_bot_linux.sites import CodeKind, KernelKind

__all__ = ["LoadedAs", "loaded_as"]


@attrs.frozen
class LoadedAs:
    """How a program is loaded.

    Attributes:
        has_cookie: whether one program serves all sites, told apart by cookies; else each has a copy, which
            `Programs.load_copy` loads.
    """

    type: ProgramType
    attach_type: AttachType = AttachType.NONE
    has_cookie: bool = True


_ON_AN_EVENT: Final = LoadedAs(ProgramType.KPROBE)


def loaded_as(kind: CodeKind | KernelKind, features: Features) -> LoadedAs | None:
    """Return how a program for all sites of a kind is loaded.

    None where it depends on the site, as for fentry, and for syscalls, which no program but the asset's serves.
    """
    if isinstance(kind, CodeKind):
        return (
            LoadedAs(ProgramType.KPROBE, AttachType.UPROBE_MULTI) if features.uprobe_multi else _ON_AN_EVENT
        )
    if kind.point is KprobePoint and features.kprobe_multi:
        return LoadedAs(ProgramType.KPROBE, AttachType.KPROBE_MULTI)
    return {
        KprobePoint: _ON_AN_EVENT,
        TracepointPoint: LoadedAs(ProgramType.TRACEPOINT),
        SoftwarePoint: LoadedAs(ProgramType.PERF_EVENT),
        RawTracepointPoint: LoadedAs(ProgramType.RAW_TRACEPOINT, has_cookie=False),
    }.get(kind.point)
