"""Opening stream mode: what the records of a table hold, and the programs and the source for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ebpf_bot_core import ProbeTable, Scope
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.kernel.assets import STREAMING
from ebpf_bot_linux.kernel.loaded import Loader
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.options import StreamOptions
from ebpf_bot_linux.points import Point
from ebpf_bot_linux.sites import Sites
from ebpf_bot_linux.streaming.describing import describe
from ebpf_bot_linux.streaming.payloads import Payloads
from ebpf_bot_linux.streaming.source import StreamSource
from ebpf_bot_linux.streaming.strings import wanted_strings

__all__ = ["open_stream", "payloads_for"]

_FRAMES: Final = 1 << 16
"""Calls that have not returned, of all threads: where there are more, the latency of the oldest is not known."""


def payloads_for(
    finder: Finder, probes: ProbeTable, points: Sequence[Point | None], sites: Sites, options: StreamOptions
) -> Payloads:
    """Lay out the records of a table; PlanError where `strings` does not fit it."""
    described = describe(finder, probes, points, sites)
    wanted = wanted_strings(options.strings, finder.find, probes, described.contents)
    return Payloads.of(sites, described.contents, wanted, described.operands, options.string_bytes)


def open_stream(
    loader: Loader,
    probes: ProbeTable,
    sites: Sites,
    payloads: Payloads,
    *,
    scope: Scope,
    keep: bool,
    ring_bytes: int,
) -> tuple[Programs, StreamSource]:
    """Load the programs of stream mode; KernelError where the kernel refuses."""
    times_returns = any(getattr(group.kind, "on_return", False) for group in sites.groups)
    programs = Programs(
        loader,
        sites.size,
        scope=scope,
        keep=keep,
        asset=STREAMING,
        max_entries={
            "ring": ring_bytes,
            "losses": sites.size,
            "frames": _FRAMES if times_returns else 1,
            **payloads.max_entries,
        },
        constants=payloads.constants,
    )
    payloads.tell(programs)
    return programs, StreamSource(probes, sites, programs, payloads, ring_bytes)
