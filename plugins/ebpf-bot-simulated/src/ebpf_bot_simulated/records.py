"""Records: hits turned into the batches that a receiver gives, in either mode."""

from __future__ import annotations

import time
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import SIGNAL_DTYPE, ProbeTable, SignalBatch
from ebpf_bot_simulated.catalogue import PROGRAMS
from ebpf_bot_simulated.world import fingerprints

__all__ = ["MAX_STREAMED", "Clock", "Streamer", "count"]

TICK_NS: Final = 100_000_000
MAX_STREAMED: Final = 1 << 22
"""How many records one batch of a stream holds; what is beyond is lost, as in a ring buffer that is full."""

_CPUS: Final = 4
_THREADS: Final = 8


class Clock:
    """Tells when a tick was.

    Args:
        start: ns since the Unix epoch at which simulated time begins; 0 for the real clock.
    """

    def __init__(self, start: int) -> None:
        self._simulated = bool(start)
        self._now = start or time.time_ns()

    def tick(self) -> tuple[int, int]:
        """Move to the end of the next tick; return its begin and end, ns since the Unix epoch."""
        before = self._now
        self._now = before + TICK_NS if self._simulated else max(before, time.time_ns())
        return before, self._now


def count(
    probes: ProbeTable, rows: NDArray[np.intp], hits: NDArray[np.uint64], lost: int, now: int
) -> SignalBatch:
    """Return one record a row that was hit."""
    return SignalBatch(probes, SignalBatch.counted(probes, rows, hits, now).records, lost)


class Streamer:
    """Writes one record a hit, each with a process, a thread and a CPU."""

    def __init__(self, probes: ProbeTable, seed: int) -> None:
        self._probes = probes
        self._seed = seed
        comms = [_comm(name) for name in probes]
        self._comm = np.array([comm.encode() for comm in comms], "S16")
        # All probes of a program are hit by the same process, whatever the seed.
        self._pid = (1000 + fingerprints(comms, 0) % np.uint64(30_000)).astype(np.uint32)

    def stream(
        self, rows: NDArray[np.intp], hits: NDArray[np.uint64], lost: int, tick: int, span: tuple[int, int]
    ) -> SignalBatch:
        """Return the hits of one tick, mixed as a running host mixes them, at even distances in `span` (ns)."""
        total = int(hits.sum())
        if total > MAX_STREAMED:
            kept = (hits * (MAX_STREAMED / total)).astype(np.uint64)
            lost += total - int(kept.sum())
            hits = kept
        rng = np.random.default_rng((self._seed, tick))
        each = np.repeat(rows, hits.astype(np.intp))
        rng.shuffle(each)
        size = len(each)
        begin, end = span
        records = np.zeros(size, SIGNAL_DTYPE)
        records["time"] = begin + (np.arange(1, size + 1) * ((end - begin) / max(size, 1))).astype(np.int64)
        records["count"] = 1
        records["probe"] = each
        records["pid"] = self._pid[each]
        records["tid"] = records["pid"] + rng.integers(0, _THREADS, size, np.uint32)
        records["cpu"] = rng.integers(0, _CPUS, size, np.int32)
        records["comm"] = self._comm[each]
        return SignalBatch(self._probes, records, lost)


def _comm(probe: str) -> str:
    kind, _, rest = probe.partition(":")
    if kind in ("uprobe", "uretprobe", "usdt"):
        binary = rest.partition(":")[0].rpartition("/")[2]
        return binary.partition(".so")[0][:15]
    return PROGRAMS[zlib.crc32(probe.encode("utf-8", "replace")) % len(PROGRAMS)]
