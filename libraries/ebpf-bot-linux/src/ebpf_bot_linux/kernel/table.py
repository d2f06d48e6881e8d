"""A table with one row for each site, which the programs look up and we fill."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_table"]


def fill_table(map_fd: int, rows: NDArray[np.void]) -> None:
    """Write all rows of a table before anything is attached; kernel 5.5 (BPF_F_MMAPABLE).

    Args:
        map_fd: an ARRAY map of at least as many values as there are rows, each of a multiple of 8 bytes.
    """
    raw = rows.tobytes()
    with mmap.mmap(map_fd, -(-len(raw) // mmap.PAGESIZE) * mmap.PAGESIZE) as memory:
        memory[: len(raw)] = raw
