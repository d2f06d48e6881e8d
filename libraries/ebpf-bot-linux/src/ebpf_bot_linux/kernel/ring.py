"""The ring buffer in which the programs leave their records, read in place.

Linux's Documentation/bpf/ringbuf.rst describes BPF_MAP_TYPE_RINGBUF, kernel 5.8. What can be mapped is one page with the
consumer's position, which the reader writes; one with the producers' position; and the data, which follows itself once
more, so that a piece that passes its end is one piece all the same. Positions only grow; modulo the size they say where
in the data they are. Each record begins with 8 bytes: its length, whose two highest bits say that its program is still
writing it, and that it is to be left out; and a number for the kernel. A record takes up a multiple of 8 bytes.

All records of one of our rings are equally long, so a piece of it is one array of numpy.

A program sets the length last, and the kernel does so in order; the reader looks at the length first. x86 keeps both
orders. On arm64 a CPU may load a record before its length: there the copy is only right because each `take` is a
system call or more away from the one before; a reader for arm64 must put a load barrier in between.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ring"]

_BUSY: Final = 1 << 31
"""BPF_RINGBUF_BUSY_BIT; with BPF_RINGBUF_DISCARD_BIT below it, in a record's length."""
_DISCARDED: Final = 1 << 30
_HEADER: Final = 8
_PIECE: Final = 1 << 19
"""Bytes that are looked at, copied and finished at a time, few enough to stay in the CPU's cache meanwhile."""


class Ring:
    """A ring of equally long records; the only reader of it.

    Args:
        map_fd: the map; it may be closed afterwards.
        size: bytes of its data: a power of two, one page or more.
        dtype: of a record; a multiple of 8 bytes.
    """

    def __init__(self, map_fd: int, size: int, dtype: np.dtype[np.void]) -> None:
        page = mmap.PAGESIZE
        self._mask = size - 1
        self._data_at = page
        self._dtype = dtype
        self._record = np.dtype([("length", "<u4"), ("page", "<u4"), ("body", f"V{dtype.itemsize}")])
        self._at_once = max(1, _PIECE // self._record.itemsize)
        self._ours = mmap.mmap(map_fd, page)
        # All of its pages at once: to fault them in one by one would make the first round slow, and lose records.
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._theirs = mmap.mmap(map_fd, page + 2 * size, flags, mmap.PROT_READ, offset=page)

    def take(self, finish: Callable[[NDArray[np.void]], None]) -> NDArray[np.void]:
        """Return what has been written since the last call, in that order, shape (n,), and give its place back.

        The array owns its memory. It ends before a record that is still being written.

        Args:
            finish: is called with each piece of the array in turn, and may change it. The piece is still in the CPU's
                cache then, and its place in the ring already given back.
        """
        begin = self._position(self._ours)
        waiting = (self._position(self._theirs) - begin) // self._record.itemsize
        taken = np.empty(waiting, self._dtype)
        bodies = taken.view(self._record["body"])
        there = np.frombuffer(self._theirs, self._record, waiting, self._data_at + (begin & self._mask))
        kept = 0
        for start in range(0, waiting, self._at_once):
            part = there[start : start + self._at_once]
            lengths = part["length"].copy()
            # Hardly a record is marked at all, and to look for one takes longer than to copy them.
            marks = int(np.bitwise_or.reduce(lengths))
            if marks & _BUSY:
                part = part[: np.flatnonzero(lengths & _BUSY)[0]]
            body = part["body"]
            if marks & _DISCARDED:
                body = body[lengths[: len(part)] & _DISCARDED == 0]
            piece = slice(kept, kept + len(body))
            bodies[piece] = body
            begin += len(part) * self._record.itemsize
            np.frombuffer(self._ours, np.uint64, 1)[0] = begin
            finish(taken[piece])
            kept = piece.stop
            if marks & _BUSY:
                break
        return taken[:kept]

    def close(self) -> None:
        """Unmap it. May be called twice."""
        self._ours.close()
        self._theirs.close()

    def _position(self, page: mmap.mmap) -> int:
        return int(np.frombuffer(page, np.uint64, 1)[0])
