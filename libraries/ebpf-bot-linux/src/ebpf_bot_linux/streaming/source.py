"""Stream mode: every hit is a signal of its own, read out of the ring buffer."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import PAYLOAD, SIGNAL_DTYPE, UNRECORDED, ProbeTable, SignalBatch
from ebpf_bot_linux.kernel.counters import Counters
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.kernel.ring import Ring
from ebpf_bot_linux.sites import Sites
from ebpf_bot_linux.streaming.clock import BootClock
from ebpf_bot_linux.streaming.payloads import Payloads

__all__ = ["StreamSource", "record_dtype"]

_HEAD: Final = SIGNAL_DTYPE.itemsize


def record_dtype(payload_bytes: int) -> np.dtype[np.void]:
    """Return what a record of the ring is: a signal with the site for its probe, and the clock's time; the payload."""
    payload: list[Any] = [(PAYLOAD, "u1", (payload_bytes,))] if payload_bytes else []
    return np.dtype([*SIGNAL_DTYPE.descr, *payload])


class StreamSource:
    """Turns the records of the ring into batches; a `Source`.

    Lost are the records that found no room in the ring, which the programs count, and the runs of programs that the
    kernel left out. So that no probe that fired looks as if it had not, one lost record of each site of which none has
    come becomes a signal after all, of the time it is missed, and with no more known of it than count mode knows.

    Args:
        ring_bytes: the size of the map `ring`.
    """

    def __init__(
        self, probes: ProbeTable, sites: Sites, programs: Programs, payloads: Payloads, ring_bytes: int
    ) -> None:
        self._probes = probes
        self._programs = programs
        self._payloads = payloads
        self._ring = Ring(programs.map("ring"), ring_bytes, record_dtype(payloads.size))
        self._losses = Counters(programs.map("losses"), sites.size)
        self._clock = BootClock()
        self._arrived = np.zeros(sites.size, np.bool_)
        self._saved_from_loss = 0
        self._last_lost = 0
        # The rows of a site stand together, from `_starts[site]` on.
        order = np.argsort(sites.pair_site, kind="stable")
        self._rows = sites.pair_row[order].astype(np.uint32)
        self._how_many = np.bincount(sites.pair_site, minlength=sites.size)
        self._starts = np.cumsum(self._how_many) - self._how_many
        self._first_row = np.zeros(sites.size, np.uint32)
        self._first_row[sites.pair_site[::-1]] = sites.pair_row[::-1]
        self._has_aliases = bool((self._how_many > 1).any())

    def drain(self) -> SignalBatch:
        """Return all records that are complete, in the order in which they were begun, and what was lost."""
        offset = self._clock.offset
        records = self._ring.take(lambda piece: self._finish(piece, offset))
        missed = self._missed()
        if len(missed):
            records = np.concatenate([records, self._unseen(missed)])
        if self._has_aliases:
            records = self._for_each_row(records)
        lost = int(self._losses.snapshot().sum()) - self._saved_from_loss + self._programs.lost()
        newly_lost, self._last_lost = lost - self._last_lost, lost
        return SignalBatch(self._probes, records, newly_lost, self._payloads.layouts)

    def close(self) -> None:
        """Unmap the ring. May be called twice."""
        self._ring.close()
        self._losses.close()

    def _finish(self, records: NDArray[np.void], offset: int) -> None:
        """Make the clock's time the time of day, end the texts, and note the sites, which become rows."""
        records["time"] += offset
        sites = records["probe"].astype(np.intp)
        self._arrived[sites] = True
        if any(self._payloads.padded):
            self._end_texts(records, sites)
        if not self._has_aliases:
            records["probe"] = self._first_row[sites]

    def _end_texts(self, records: NDArray[np.void], sites: NDArray[np.intp]) -> None:
        """Put zeros behind the end of texts that the kernel left something behind."""
        layout = self._payloads.layouts.of_probe[self._first_row[sites]]
        payloads = records.view(np.uint8).reshape(len(records), records.itemsize)[:, _HEAD:]
        for number, places in enumerate(self._payloads.padded):
            for offset, size in places:
                rows = np.flatnonzero(layout == number)
                text = payloads[rows, offset : offset + size]
                text[np.logical_or.accumulate(text == 0, axis=1)] = 0
                payloads[rows, offset : offset + size] = text

    def _for_each_row(self, records: NDArray[np.void]) -> NDArray[np.void]:
        """Return the records of sites as those of rows, one for each row that a site has."""
        sites = records["probe"].astype(np.intp)
        times = self._how_many[sites]
        repeated = np.repeat(records, times)
        within = np.arange(len(repeated)) - np.repeat(np.cumsum(times) - times, times)
        repeated["probe"] = self._rows[np.repeat(self._starts[sites], times) + within]
        return repeated

    def _missed(self) -> NDArray[np.intp]:
        """Return the sites that have lost records and of which none has come, each once."""
        missed = np.flatnonzero((self._losses.snapshot() > 0) & ~self._arrived)
        self._arrived[missed] = True
        self._saved_from_loss += len(missed)
        return missed

    def _unseen(self, sites: NDArray[np.intp]) -> NDArray[np.void]:
        records = np.zeros(len(sites), record_dtype(self._payloads.size))
        records["probe"] = sites if self._has_aliases else self._first_row[sites]
        records["time"] = time.time_ns()
        records["count"] = 1
        records["cpu"] = UNRECORDED
        return records
