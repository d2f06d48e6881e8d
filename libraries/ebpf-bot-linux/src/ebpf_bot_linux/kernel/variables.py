"""The programs' global variables, read and written while the programs run."""

from __future__ import annotations

import mmap
from collections.abc import Mapping

import numpy as np

from ebpf_bot_linux.kernel.loaded import Variable

__all__ = ["Variables"]


class Variables:
    """The variables of one map (`bss`), mapped into our memory; kernel 5.5.

    Every access is one aligned load or store, so no program sees half of a value.

    Args:
        map_fd: the map; it may be closed afterwards.
        places: where each variable stands in it.
    """

    def __init__(self, map_fd: int, places: Mapping[str, Variable]) -> None:
        size = max(place.offset + place.size for place in places.values())
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(map_fd, pages)
        self._places = places

    def get(self, name: str) -> int:
        """Return an unsigned integer variable."""
        place = self._places[name]
        return int(np.frombuffer(self._memory, f"=u{place.size}", 1, place.offset)[0])

    def set(self, name: str, value: int) -> None:
        """Set an unsigned integer variable."""
        place = self._places[name]
        np.frombuffer(self._memory, f"=u{place.size}", 1, place.offset)[0] = value

    def set_element(self, name: str, index: int, value: int) -> None:
        """Set one 32-bit element of an array variable; IndexError if it has no such element."""
        place = self._places[name]
        np.frombuffer(self._memory, "=u4", place.size // 4, place.offset)[index] = value

    def close(self) -> None:
        """Unmap them. May be called twice."""
        self._memory.close()
