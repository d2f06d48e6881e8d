"""Extents: from where to where the functions of a binary go, as their symbols say, and what else begins within them."""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.symbols import STT_FUNC, STT_GNU_IFUNC, Symbols

__all__ = ["Extents"]

_HIGHEST: Final = 1 << 62
"""Addresses above are not those of code in user space."""
_COLD: Final = ".cold"
"""Behind it compilers count the parts of a function that they put elsewhere since they hardly ever run."""


@attrs.frozen(eq=False)
class Extents:
    """The functions of a binary by their addresses; addresses are int64, columns of functions of one length.

    Attributes:
        starts: of each function, ascending, each once.
        ends: one more than that of its last byte, by the smallest size that a symbol gives; `starts` where none does.
        reaches: the same by the largest size.
        labels: of all that is defined and has a symbol, ascending, each once.
        cold: shape (n, 2): the function `cold[i, 0]` has a part that is listed as the function `cold[i, 1]`.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    reaches: NDArray[np.int64]
    labels: NDArray[np.int64]
    cold: NDArray[np.intp]

    @classmethod
    def of(cls, symbols: Symbols) -> Extents:
        """Read the extents from the symbols of a binary."""
        known = symbols.defined & np.isin(symbols.type, (STT_FUNC, STT_GNU_IFUNC))
        known &= (symbols.address < _HIGHEST) & (symbols.size < _HIGHEST)
        address, size = symbols.address[known].astype(np.int64), symbols.size[known].astype(np.int64)
        starts, row = np.unique(address, return_inverse=True)
        largest = np.zeros(len(starts), np.int64)
        np.maximum.at(largest, row, size)
        smallest = largest.copy()
        sized = size > 0
        np.minimum.at(smallest, row[sized], size[sized])
        labels = np.unique(symbols.labels[symbols.labels < _HIGHEST]).astype(np.int64)
        return cls(starts, starts + smallest, starts + largest, labels, _cold(symbols, known, row))

    def rows(self, addresses: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the row of the function that begins at each of some addresses; -1 where none does."""
        if not len(self.starts):
            return np.full(len(addresses), -1, np.intp)
        row = np.minimum(np.searchsorted(self.starts, addresses), len(self.starts) - 1)
        return np.where(self.starts[row] == addresses, row, -1)

    def limits(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return where each of some functions ends, or anything else begins within it."""
        following = np.searchsorted(self.labels, self.starts[rows], "right")
        limit = self.ends[rows].copy()
        within = following < len(self.labels)
        limit[within] = np.minimum(limit[within], self.labels[following[within]])
        return limit


def _cold(symbols: Symbols, known: NDArray[np.bool_], row: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return which functions have which parts elsewhere, told by their names."""
    split = [i for i, name in enumerate(symbols.names) if _COLD in name]
    if not split:
        return np.zeros((0, 2), np.intp)
    number_of = {name: i for i, name in enumerate(symbols.names)}
    parts = {i: number_of.get(symbols.names[i].partition(_COLD)[0], -1) for i in split}
    name = symbols.name[known]
    pairs = [
        (whole, part)
        for i, of in parts.items()
        for whole in row[name == of].tolist()
        for part in row[name == i].tolist()
    ]
    return np.array(sorted(set(pairs)), np.intp).reshape(-1, 2)
