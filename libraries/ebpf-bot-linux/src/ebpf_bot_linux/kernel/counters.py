"""The tables that the programs share with us: what they have counted, and the notes that they leave each other."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counters", "Notes"]


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


class Notes:
    """One bit a thread, mapped into our memory; kernel 5.5.

    Args:
        map_fd: an ARRAY map of `words` 64-bit values; it may be closed afterwards.
    """

    def __init__(self, map_fd: int, words: int) -> None:
        pages = -(-words * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(map_fd, pages)

    def clear(self) -> None:
        """Take all bits back; only while no program looks at them."""
        np.frombuffer(self._memory, np.uint64)[:] = 0

    def close(self) -> None:
        """Unmap the table. May be called twice."""
        self._memory.close()
