"""Count mode: what the counters say of the probes since they were last read."""

from __future__ import annotations

import time

import numpy as np

from ebpf_bot_core import ProbeTable, SignalBatch
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import Sites

__all__ = ["CountSource"]


class CountSource:
    """Count mode: turns the differences between two snapshots into a batch; a `Source`.

    Args:
        keep: whether every hit is reported; else the first of each site, since what comes while a link follows on another
            may have been counted twice.
    """

    def __init__(self, probes: ProbeTable, sites: Sites, programs: Programs, *, keep: bool) -> None:
        self._probes = probes
        self._keep = keep
        self._sites = sites
        self._programs = programs
        self._last = np.zeros(sites.size, np.uint64)
        self._last_lost = 0

    def drain(self) -> SignalBatch:
        """Return what has been counted since the last call; a probe's hits are those of all its sites."""
        now = self._programs.counters.snapshot()[: self._sites.size]
        if not self._keep:
            now = np.minimum(now, 1)
        hits = (now - self._last)[self._sites.pair_site]
        pairs = np.flatnonzero(hits)
        self._last = now
        lost = self._programs.lost()
        newly_lost, self._last_lost = lost - self._last_lost, lost
        if not len(pairs):
            return SignalBatch.empty(self._probes, lost=newly_lost)
        rows, places = np.unique(self._sites.pair_row[pairs], return_inverse=True)
        counts = np.zeros(len(rows), np.uint64)
        np.add.at(counts, places, hits[pairs])
        batch = SignalBatch.counted(self._probes, rows, counts, time.time_ns())
        return SignalBatch(self._probes, batch.records, newly_lost)

    def close(self) -> None:
        """Do nothing: the programs own the counters."""
