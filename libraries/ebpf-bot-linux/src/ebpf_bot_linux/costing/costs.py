"""What the probes of a table have cost their targets: hits, each times what one costs at its place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Scope
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.costing.calibration import HitCosts, calibrate
from ebpf_bot_linux.costing.kernel_functions import KprobeCosts, calibrate_kprobes
from ebpf_bot_linux.costing.places import Place, places
from ebpf_bot_linux.kernel.assets import COUNTING
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
from ebpf_bot_linux.sites import CodeKind, SiteGroup, Sites

__all__ = ["Costs"]

_measured: list[HitCosts] = []
"""What this process has calibrated, once; a machine does not change."""
_measured_kprobes: list[KprobeCosts] = []
"""Likewise, once it has probed functions of the kernel."""


class Costs:
    """Estimates what the probes have cost, from the counters of their sites.

    Hits out of scope cost as much and are counted for it at places in code and at kprobes, not at fentry and events of
    the kernel. What a watched syscall adds to all the others is not in it. The cost of a site that several probes share
    is shared between them.
    """

    def __init__(self, sites: Sites, programs: Programs, closer: Closer) -> None:
        if not _measured:
            _measured.append(_calibrated(programs, closer))
        self.hit_costs = _measured[0]
        self._sites = sites
        self._programs = programs
        self._closer = closer
        self._a_hit = np.full(sites.size, np.nan)
        self._is_placed = np.zeros(sites.size, np.bool_)
        for group in sites.groups:
            self._a_hit[group.first : group.end] = self._of_kind(group)
        sharers = np.bincount(sites.pair_site, minlength=sites.size)
        self._share = 1 / np.maximum(sharers, 1)[sites.pair_site]

    def place(self, sites: NDArray[np.intp], code: NDArray[np.uint8], *, on_return: bool) -> None:
        """Say what stands at some places in code; else their instructions are taken for stepped ones.

        A site that counts several places, in several files, is taken for the dearest of them.

        Args:
            code: shape (n, LONGEST), the code from each of these places on.
        """
        self._a_hit[sites[~self._is_placed[sites]]] = 0
        self._is_placed[sites] = True
        costs = self.hit_costs.places[places(code)] + on_return * self.hit_costs.on_return
        np.maximum.at(self._a_hit, sites, costs)

    def of_rows(self) -> NDArray[np.float64]:
        """Return the CPU seconds that each row has cost so far, shape (rows,); NaN for one without a site."""
        sites = self._sites
        hits = self._programs.counters.snapshot().reshape(-1, sites.size).sum(axis=0)
        costs = hits * self._a_hit
        rows = len(sites.binary_of_row)
        of_pairs = costs[sites.pair_site] * self._share
        summed = np.bincount(sites.pair_row, weights=of_pairs, minlength=rows).astype(np.float64)
        summed[np.bincount(sites.pair_row, minlength=rows) == 0] = np.nan
        return summed

    def _of_kind(self, group: SiteGroup) -> float:
        if isinstance(group.kind, CodeKind):
            return (
                float(self.hit_costs.places[Place.STEPPED]) + group.kind.on_return * self.hit_costs.on_return
            )
        if group.kind.point is KprobePoint:
            costs = self._kprobe_costs()
            return costs.on_return if group.kind.on_return else costs.entry
        # The kernel calls a program on fentry or fexit as one on a raw tracepoint; a sample is a perf event.
        events: dict[type[KernelPoint], float] = {
            TracepointPoint: self.hit_costs.tracepoint,
            RawTracepointPoint: self.hit_costs.raw_event,
            SyscallPoint: self.hit_costs.raw_event,
            SyscallExitPoint: self.hit_costs.raw_event,
            FentryPoint: self.hit_costs.raw_event,
            SoftwarePoint: self.hit_costs.tracepoint,
        }
        return events[group.kind.point]

    def _kprobe_costs(self) -> KprobeCosts:
        if self._programs.asset is not COUNTING:
            return KprobeCosts.at_most(self.hit_costs)
        if not _measured_kprobes:
            _measured_kprobes.append(calibrate_kprobes(self._programs, self._closer, self.hit_costs))
        return _measured_kprobes[0]


def _calibrated(programs: Programs, closer: Closer) -> HitCosts:
    """Measure with programs that count, for others would leave records of it."""
    if programs.asset is COUNTING:
        return calibrate(programs, closer)
    counting = Programs(programs.loader, 1, scope=Scope.HOST, keep=False)
    try:
        return calibrate(counting, closer)
    finally:
        counting.close()
