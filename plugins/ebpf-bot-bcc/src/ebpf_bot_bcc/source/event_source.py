"""Stream mode for a user's programs: what they write to their buffers, as signals of the probe whose function wrote it.

A signal stands for a hit. A function may write nothing for a hit, or several records: the sum of the signals' counts is the
number of hits all the same. So the first records since the last time count 1 each, as many as there were hits; further
ones count 0; and hits that left no record are one signal more, `UNRECORDED`.

Functions run meanwhile. A hit is counted before its function writes, so once a record has been read its hit is counted; and
only hits that were counted before the reading can be missing their records.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np
from ebpf_bot_linux import BootClock, Programs, Sites
from numpy.typing import NDArray

from ebpf_bot_bcc.source.buffers import Buffer, Taken
from ebpf_bot_core import PAYLOAD, SIGNAL_DTYPE, UNRECORDED, Layouts, ProbeTable, SignalBatch

__all__ = ["EventSource", "OpenBuffer"]

_SETTLING: Final = 0.001
"""Seconds that a function may take from being counted to writing its record."""


@attrs.frozen
class OpenBuffer:
    """A buffer of one probe.

    Attributes:
        name: of the map in the source.
        struct: what is written to it; None where BCC cannot tell.
    """

    name: str
    buffer: Buffer
    struct: np.dtype[np.void] | None


class EventSource:
    """Turns the records of all buffers into batches; a `Source`.

    Args:
        buffers: of each row that has some.
    """

    def __init__(
        self,
        probes: ProbeTable,
        sites: Sites,
        programs: Programs,
        buffers: Mapping[int, Sequence[OpenBuffer]],
    ) -> None:
        self._probes = probes
        self._sites = sites
        self._programs = programs
        self._buffers = buffers
        self._clock = BootClock()
        self._told = np.zeros(len(probes), np.uint64)
        self._last_lost = 0
        self._starts: dict[tuple[int, str], int] = {}
        self._layouts = self._lay_out()
        payload: list[Any] = [(PAYLOAD, "u1", (self._layouts.size,))] if self._layouts.size else []
        self._dtype = np.dtype([*SIGNAL_DTYPE.descr, *payload])

    def drain(self) -> SignalBatch:
        """Return what has been written since the last call, and the hits that left no record."""
        before = self._hits()
        parts, arrived, lost = self._read()
        if (before > self._told + arrived).any():
            time.sleep(_SETTLING)
            late, more, more_lost = self._read()
            parts, arrived, lost = parts + late, arrived + more, lost + more_lost
        records = np.concatenate([*parts, self._unrecorded(before, arrived)])
        self._count(records, self._hits())
        records = records[np.argsort(records["time"], kind="stable")]
        left_out = self._programs.lost()
        lost, self._last_lost = lost + left_out - self._last_lost, left_out
        layouts = self._layouts if self._layouts.dtypes else None
        return SignalBatch(self._probes, records, lost, layouts)

    def close(self) -> None:
        """Close the buffers. May be called twice."""
        for buffers in self._buffers.values():
            for each in buffers:
                each.buffer.close()

    def _hits(self) -> NDArray[np.uint64]:
        """How often each row has been hit so far."""
        counts = self._programs.counters.snapshot()[: self._sites.size]
        hits = np.zeros(len(self._probes), np.uint64)
        np.add.at(hits, self._sites.pair_row, counts[self._sites.pair_site])
        return hits

    def _read(self) -> tuple[list[NDArray[np.void]], NDArray[np.uint64], int]:
        """Return the records of all buffers, how many each row has, and how many were lost."""
        parts = []
        arrived = np.zeros(len(self._probes), np.uint64)
        lost = 0
        for row, buffers in self._buffers.items():
            for each in buffers:
                taken = each.buffer.take()
                lost += taken.lost
                if len(taken.bodies):
                    parts.append(self._records(row, each, taken))
                    arrived[row] += np.uint64(len(taken.bodies))
        return parts, arrived, lost

    def _records(self, row: int, source: OpenBuffer, taken: Taken) -> NDArray[np.void]:
        records = np.zeros(len(taken.bodies), self._dtype)
        records["probe"] = row
        records["cpu"] = -1
        records["time"] = time.time_ns()
        if taken.head is not None:
            records["time"] = taken.head["time"] + self._clock.offset
            for name in ("pid", "tid", "cpu"):
                records[name] = taken.head[name]
        if source.struct is not None:
            start = self._starts[row, source.name]
            records[PAYLOAD][:, start : start + source.struct.itemsize] = taken.bodies
        return records

    def _unrecorded(self, hits: NDArray[np.uint64], arrived: NDArray[np.uint64]) -> NDArray[np.void]:
        rows = np.flatnonzero(hits > self._told + arrived)
        records = np.zeros(len(rows), self._dtype)
        records["probe"] = rows
        records["count"] = (hits - self._told - arrived)[rows]
        records["cpu"] = UNRECORDED
        records["time"] = time.time_ns()
        return records

    def _count(self, records: NDArray[np.void], hits: NDArray[np.uint64]) -> None:
        """Let as many records count as there are hits that no signal has told of."""
        unrecorded = records["cpu"] == UNRECORDED
        np.add.at(self._told, records["probe"][unrecorded], records["count"][unrecorded])
        for row in self._buffers:
            mine = np.flatnonzero((records["probe"] == row) & ~unrecorded)
            counted = min(len(mine), int(hits[row] - self._told[row]))
            records["count"][mine[:counted]] = 1
            self._told[row] += np.uint64(counted)

    def _lay_out(self) -> Layouts:
        """Give the structs of each row places in the payload, one behind the other; of several, fields are `MAP.FIELD`."""
        places: dict[int, list[tuple[str, Any, int]]] = {}
        size = 0
        for row, buffers in self._buffers.items():
            start = 0
            for each in buffers:
                if each.struct is None:
                    continue
                self._starts[row, each.name] = start
                for name, (format_, offset, *_) in (each.struct.fields or {}).items():
                    shown = name if len(buffers) == 1 else f"{each.name}.{name}"
                    places.setdefault(row, []).append((shown, format_, start + offset))
                start += -(-each.struct.itemsize // 8) * 8
            size = max(size, start)
        return Layouts.of([_layout(places.get(row, ()), size) for row in range(len(self._probes))])


def _layout(places: Sequence[tuple[str, Any, int]], size: int) -> np.dtype[np.void] | None:
    """Return a layout of fields (name, format, offset); None if there are none."""
    if not places:
        return None
    names, formats, offsets = zip(*places, strict=True)
    spec: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
    layout: np.dtype[np.void] = np.dtype(spec)
    return layout
