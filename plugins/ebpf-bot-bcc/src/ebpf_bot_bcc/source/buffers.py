"""Reading what a program writes to a buffer: a BPF ring buffer, or a perf buffer for each CPU.

Neither promises that records are equally long, but those of one function of a user's are, but for a notice of loss between
them. So records are read in runs: as many as begin with the same eight bytes are one array to numpy.

Sources: Documentation/bpf/ringbuf.rst of Linux; perf_event_open(2), "MMAP layout". As in `ebpf_bot_linux.kernel.ring`, that a
record is read after the position that announces it rests on the order that x86 keeps.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import Final, Protocol

import attrs
import numpy as np
from ebpf_bot_linux import KernelError, perf_events, syscalls
from numpy.typing import NDArray

__all__ = ["Buffer", "PerfBuffer", "RingBuffer", "Taken"]

_PAGES: Final = 64
"""Of each CPU's perf buffer; a power of two."""
_HEADER: Final = 8
_BUSY: Final = 1 << 31
_DISCARDED: Final = 1 << 30
_LENGTH: Final = (1 << 30) - 1
_LOST: Final = 2  # PERF_RECORD_LOST
_SAMPLE: Final = 9  # PERF_RECORD_SAMPLE
_DATA_HEAD: Final = 1024  # in struct perf_event_mmap_page
_DATA_TAIL: Final = 1032
_LOST_COUNT: Final = 16
_FEW: Final = 16
"""Records in which the end of a run is looked for at first."""
_RAW: Final = 36
"""Where in a sample of `perf_events.open_output` the written bytes are."""


@attrs.frozen(eq=False)
class Taken:
    """What was in a buffer.

    Attributes:
        head: shape (n,), `time` (ns by CLOCK_BOOTTIME), `pid`, `tid` and `cpu` of each record; None where the buffer
            does not tell.
        bodies: shape (n, bytes), what was written.
        lost: records that found no room, or are not as long as was declared.
    """

    head: NDArray[np.void] | None
    bodies: NDArray[np.uint8]
    lost: int = 0


class Buffer(Protocol):
    """A buffer of records of one struct."""

    def take(self) -> Taken:
        """Return what has been written since the last call, and give its place back."""
        ...

    def close(self) -> None:
        """Give back what is mapped. May be called twice."""
        ...


class RingBuffer:
    """A BPF ring buffer, kernel 5.8; what finds no room there is known to the program alone.

    Args:
        map_fd: the map; it may be closed afterwards.
        size: bytes of its data.
        body: bytes of the struct; 0 where it is not known, and records are only counted.

    Raises:
        KernelError: it cannot be mapped; none of it is left mapped.
    """

    def __init__(self, map_fd: int, size: int, body: int) -> None:
        page = mmap.PAGESIZE
        self._mask = size - 1
        self._body = body
        self._ours = _mapped(map_fd, page)
        try:
            self._theirs = _mapped(map_fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        except KernelError:
            self._ours.close()
            raise

    def take(self) -> Taken:
        """Return what has been written since the last call, and give its place back."""
        begin, end = _position(self._ours, 0), _position(self._theirs, 0)
        data = np.frombuffer(self._theirs, np.uint8, offset=mmap.PAGESIZE)
        bodies, lost = [], 0
        while begin < end:
            start = begin & self._mask
            length = int(data[start : start + 4].view("<u4")[0])
            if length & _BUSY:
                break
            stride = _HEADER + -(-(length & _LENGTH) // 8) * 8
            run = _run(data[start:], (end - begin) // stride, stride, 0xFFFF_FFFF)
            if not length & _DISCARDED:
                if not self._body or length & _LENGTH == self._body:
                    bodies.append(run[:, _HEADER : _HEADER + self._body].copy())
                else:
                    lost += len(run)
            begin += len(run) * stride
            np.frombuffer(self._ours, np.uint64, 1)[0] = begin
        return Taken(None, _joined(bodies, self._body), lost)

    def close(self) -> None:
        """Unmap it. May be called twice."""
        self._ours.close()
        self._theirs.close()


class PerfBuffer:
    """A perf buffer on each CPU that is online now, kernel 4.4.

    Args:
        map_fd: a map of type PERF_EVENT_ARRAY; it may be closed afterwards.
        body: as for `RingBuffer`. The kernel rounds lengths up, so that a record may pass for one that is a little longer.

    Raises:
        KernelError: the buffers cannot be opened; none is left open.
    """

    HEAD: Final = np.dtype(
        {
            "names": ["pid", "tid", "time", "cpu"],
            "formats": ["<u4", "<u4", "<i8", "<i4"],
            "offsets": [8, 12, 16, 24],
            "itemsize": _RAW,
        }
    )
    """The part of a sample before what was written."""

    def __init__(self, map_fd: int, body: int) -> None:
        self._body = body
        self._size = -(-(_RAW + body) // 8) * 8 if body else 0
        self._events: list[int] = []
        # The kernel takes the buffers out of the map when the descriptor is closed by which they came there.
        self._map = os.dup(map_fd)
        self._memories: list[mmap.mmap] = []
        try:
            for cpu in perf_events.online_cpus():
                self._events.append(perf_events.open_output(cpu))
                self._memories.append(_mapped(self._events[-1], (1 + _PAGES) * mmap.PAGESIZE))
                syscalls.update_element(map_fd, self._events[-1].to_bytes(4, "little"), cpu)
        except BaseException:
            self.close()
            raise

    def take(self) -> Taken:
        """Return what has been written on all CPUs since the last call, in no order, and give its place back."""
        heads, bodies, lost = [], [], 0
        for memory in self._memories:
            data = self._pending(memory)
            at = 0
            while at < len(data):
                kind, size = int(data[at : at + 4].view("<u4")[0]), int(data[at + 6 : at + 8].view("<u2")[0])
                run = _run(data[at:], (len(data) - at) // size, size, 0xFFFF_0000_FFFF_FFFF)
                if kind == _LOST:
                    lost += int(np.ascontiguousarray(run[:, _LOST_COUNT : _LOST_COUNT + 8]).view("<u8").sum())
                elif kind == _SAMPLE and size == (self._size or size):
                    heads.append(np.ascontiguousarray(run[:, :_RAW]).view(self.HEAD)[:, 0])
                    bodies.append(run[:, _RAW : _RAW + self._body])
                elif kind == _SAMPLE:
                    lost += len(run)
                at += len(run) * size
        head = np.concatenate(heads) if heads else np.zeros(0, self.HEAD)
        return Taken(head, _joined(bodies, self._body), lost)

    def close(self) -> None:
        """Unmap and close all. May be called twice."""
        for memory in self._memories:
            memory.close()
        while self._events:
            os.close(self._events.pop())
        if self._map >= 0:
            os.close(self._map)
            self._map = -1

    @staticmethod
    def _pending(memory: mmap.mmap) -> NDArray[np.uint8]:
        """Copy what waits, in one piece, and give its place back."""
        head, tail = _position(memory, _DATA_HEAD), _position(memory, _DATA_TAIL)
        size = _PAGES * mmap.PAGESIZE
        data = np.frombuffer(memory, np.uint8, size, mmap.PAGESIZE)
        start, length = tail % size, head - tail
        first = data[start : min(start + length, size)]
        copy = np.concatenate([first, data[: length - len(first)]])
        np.frombuffer(memory, np.uint64, 1, _DATA_TAIL)[0] = head
        return copy


def _run(data: NDArray[np.uint8], most: int, stride: int, mask: int) -> NDArray[np.uint8]:
    """Return as many records as begin with the same bytes under a mask, at most so many, shape (n, stride)."""
    records = data[: most * stride].reshape(most, stride)
    looked = _FEW
    while True:  # so that what a short run takes does not depend on all that is behind it
        begins = np.ascontiguousarray(records[:looked, :_HEADER]).view(np.uint64)[:, 0] & np.uint64(mask)
        other = np.flatnonzero(begins != begins[0])
        if len(other):
            return records[: other[0]]
        if looked >= most:
            return records
        looked *= 4


def _joined(bodies: list[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    return np.concatenate(bodies) if bodies else np.zeros((0, size), np.uint8)


def _mapped(descriptor: int, size: int, **how: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, size, **how)
    except OSError as error:  # without CAP_IPC_LOCK there is a bound: kernel.perf_event_mlock_kb
        raise KernelError("map a buffer", error.errno or errno.EPERM) from error


def _position(memory: mmap.mmap, offset: int) -> int:
    return int(np.frombuffer(memory, np.uint64, 1, offset)[0])
