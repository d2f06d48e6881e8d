"""The table in which the programs count, and what it says of probes since it was last read."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeTable, SignalBatch
from ebpf_bot_libbpf.sites import Sites

__all__ = ["CountSource", "Counters"]


class Counters:
    """One 64-bit counter a site, mapped into our memory, so that reading them all costs no system call.

    Kernel 5.5 (BPF_F_MMAPABLE).

    Args:
        map_fd: an ARRAY map of `size` 64-bit values; it may be closed afterwards.
    """

    def __init__(self, map_fd: int, size: int) -> None:
        self._size = size
        pages = -(-size * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(map_fd, pages, prot=mmap.PROT_READ)

    def snapshot(self) -> NDArray[np.uint64]:
        """Return a copy of all counters, shape (size,); each is whole, but not all are of one instant."""
        return np.frombuffer(self._memory, np.uint64, self._size).copy()

    def close(self) -> None:
        """Unmap the table. May be called twice."""
        self._memory.close()


class CountSource:
    """Count mode: turns the differences between two snapshots into a batch.

    Args:
        lost: returns how many hits the kernel has left out so far.
    """

    def __init__(
        self, probes: ProbeTable, sites: Sites, counters: Counters, lost: Callable[[], int]
    ) -> None:
        self._probes = probes
        self._sites = sites
        self._counters = counters
        self._lost = lost
        self._last = np.zeros(sites.size, np.uint64)
        self._last_lost = 0

    def drain(self) -> SignalBatch:
        """Return what has been counted since the last call; a probe's hits are those of all its sites."""
        now = self._counters.snapshot()
        hits = (now - self._last)[self._sites.pair_site]
        pairs = np.flatnonzero(hits)
        self._last = now
        lost = self._lost()
        newly_lost, self._last_lost = lost - self._last_lost, lost
        if not len(pairs):
            return SignalBatch.empty(self._probes, lost=newly_lost)
        rows, places = np.unique(self._sites.pair_row[pairs], return_inverse=True)
        counts = np.zeros(len(rows), np.uint64)
        np.add.at(counts, places, hits[pairs])
        batch = SignalBatch.counted(self._probes, rows, counts, time.time_ns())
        return SignalBatch(self._probes, batch.records, newly_lost)
