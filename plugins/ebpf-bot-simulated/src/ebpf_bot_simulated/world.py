"""The world: how often each probe would be hit in each tick, whether or not anyone looks.

Every number is a pure function of (seed, probe, tick). So a probe is hit as often whatever else is attached, and two
policies can be compared on the very same world.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_simulated.catalogue import KNOWN_RATES
from ebpf_bot_simulated.faults import Fault
from ebpf_bot_simulated.options import SimulatedOptions
from ebpf_bot_simulated.rules import Rules

__all__ = ["World", "fingerprints"]

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_CLASS, _SIZE, _HIT, _LOSS = range(4)
"""What a draw is for; draws for different ends are independent."""


class World:
    """What happens on the simulated host to the probes of a table.

    Args:
        faults: what is wrong with which row.

    Attributes:
        rates: shape (n,), hits a tick on average.
        runs: shape (n,), whether the code around a probe is run at all.
    """

    def __init__(self, probes: Sequence[str], options: SimulatedOptions, faults: Mapping[int, Fault]) -> None:
        self._fingerprints = fingerprints(probes, options.seed)
        self._lose = options.lose
        self.rates = self._natural_rates()
        self.runs = np.ones(len(probes), np.bool_)
        stated = Rules(options.rates, KNOWN_RATES).rows(probes)
        self.rates[list(stated)] = list(stated.values())
        for row, fault in faults.items():
            if fault.reason in (Reason.NOT_CALLED, Reason.NEVER_EXECUTED):
                self.rates[row] = 0
                self.runs[row] = fault.reason is Reason.NOT_CALLED

    def hits(self, rows: NDArray[np.intp], tick: int) -> NDArray[np.uint64]:
        """Return how often each of `rows` is hit in a tick, shape (len(rows),).

        The rate is rounded up or down by chance so that its mean is kept: 3.0 gives 3 always, 0.2 gives 1 in one
        tick of five.
        """
        return np.floor(self.rates[rows] + self._draw(rows, _HIT, tick)).astype(np.uint64)

    def lost(self, rows: NDArray[np.intp], hits: NDArray[np.uint64], tick: int) -> NDArray[np.uint64]:
        """Return how many of the `hits` of each row are lost on their way, shape (len(rows),)."""
        if not self._lose:
            return np.zeros_like(hits)
        lost = np.floor(hits * self._lose + self._draw(rows, _LOSS, tick)).astype(np.uint64)
        return np.minimum(lost, hits)

    def _natural_rates(self) -> NDArray[np.float64]:
        """Return rates as programs have them: most of the code runs at times, a little all the time, some never."""
        everyone = np.arange(len(self._fingerprints))
        size = 10 ** self._draw(everyone, _SIZE)
        share = self._draw(everyone, _CLASS)
        classes: list[NDArray[np.bool_]] = [share < 0.10, share < 0.35, share < 0.85]  # noqa: PLR2004
        return np.select(classes, [0 * size, 0.02 * size, 0.5 * size], 20 * size)

    def _draw(self, rows: NDArray[np.intp], purpose: int, tick: int = 0) -> NDArray[np.float64]:
        """Return one number from [0, 1) for each row, uniform, always the same for (row, purpose, tick)."""
        salt = ((tick << 2 | purpose) * _GOLDEN) & _MASK
        bits = _mix(self._fingerprints[rows] + np.uint64(salt))
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def fingerprints(names: Sequence[str], seed: int) -> NDArray[np.uint64]:
    """Return 64 well-mixed bits for each name, shape (len(names),), other ones for every seed."""
    sums = np.fromiter((zlib.crc32(name.encode("utf-8", "replace")) for name in names), np.uint64, len(names))
    return _mix(_mix(sums) + np.uint64(seed * _GOLDEN & _MASK))


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the bits scrambled by the finalizer of SplitMix64."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
