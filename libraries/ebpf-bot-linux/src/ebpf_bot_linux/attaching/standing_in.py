"""Standing in: which sites of an expected file count the places of another file that is run in its place.

A function may have several places in a file, and several functions one (aliases, functions that were merged), and that
may be otherwise in the other file. A hit there must count once for each function that has the place there, and for no
other.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.sites import Sites

__all__ = ["StandIns"]


@attrs.frozen(eq=False)
class StandIns:
    """How the sites of one file count for the places of another.

    Attributes:
        layers: each of shape (elsewhere.size,): of each place the site that counts it, 0 for none. There are as many
            as there are sites that count the same place.
        absent: ascending, the rows that have no place there.
        mixed: ascending, the rows that no site can count at some place there: each of theirs counts for another
            function as well, which has not that place.
    """

    layers: tuple[NDArray[np.intp], ...]
    absent: NDArray[np.intp]
    mixed: NDArray[np.intp]

    @classmethod
    def of(cls, sites: Sites, elsewhere: Sites, rows: NDArray[np.intp]) -> StandIns:
        """Find the sites that count for the other file.

        Args:
            elsewhere: the sites in the other file; row i there has the name of row `rows[i]` of `sites`.
        """
        joined = np.isin(sites.pair_row, rows)
        pairs = np.column_stack([sites.pair_row, sites.pair_site])[joined].tolist()
        sites_of: dict[int, list[int]] = {}
        rows_of: dict[int, set[int]] = {}
        for row, site in pairs:
            sites_of.setdefault(row, []).append(site)
            rows_of.setdefault(site, set()).add(row)
        sharers: dict[int, list[int]] = {}
        for row, place in zip(rows[elsewhere.pair_row].tolist(), elsewhere.pair_site.tolist(), strict=True):
            sharers.setdefault(place, []).append(row)

        layers: list[NDArray[np.intp]] = []
        mixed: set[int] = set()
        for place, sharing in sharers.items():
            left = set(sharing)
            chosen = []
            for row in sharing:
                fitting = [site for site in sites_of.get(row, ()) if row in left and rows_of[site] <= left]
                if fitting:
                    chosen.append(fitting[0])
                    left -= rows_of[fitting[0]]
            mixed |= left
            for depth, site in enumerate(chosen):
                if depth == len(layers):
                    layers.append(np.zeros(elsewhere.size, np.intp))
                layers[depth][place] = site
        there = rows[np.unique(elsewhere.pair_row)]
        return cls(tuple(layers), np.setdiff1d(rows, there), np.array(sorted(mixed), np.intp))
