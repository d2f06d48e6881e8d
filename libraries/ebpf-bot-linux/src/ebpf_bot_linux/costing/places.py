"""Kinds of places in code, by what a hit there costs: that depends on how the kernel runs the instruction it replaced.

A uprobe replaces an instruction by a breakpoint. The kernel emulates a few instructions (`finding.emulation` says which);
the others it steps in a copy elsewhere, which costs a second exception and a scheduling barrier, some 12 us in place of
0.7. From kernel 6.18 a 5-byte nop becomes a call, without any exception.
"""

from __future__ import annotations

import enum
import platform
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.emulation import are_emulated, are_nops

__all__ = ["Place", "places"]

_CALLABLE_NOP: Final = (0x0F, 0x1F, 0x44, 0x00, 0x00)


class Place(enum.IntEnum):
    """What a hit at a place in code is like; the numbers index a calibration."""

    EMULATED = 0
    """jmp, jcc, call, a one-byte nop, push."""
    LONG_NOP = 1
    """A nop of several bytes: emulated from kernel 6.18, stepped before."""
    CALLABLE_NOP = 2
    """The nop of five bytes that the kernel can turn into a call; from 6.18."""
    STEPPED = 3
    """Everything else."""


def places(code: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the `Place` of each of some instructions, shape (n,).

    Args:
        code: shape (n, LONGEST), 64-bit code from the first byte of each instruction.
    """
    kinds = np.full(len(code), Place.STEPPED, np.intp)
    if platform.machine() != "x86_64":
        return kinds
    kinds[are_nops(code)] = Place.LONG_NOP
    kinds[are_emulated(code)] = Place.EMULATED
    kinds[(code[:, : len(_CALLABLE_NOP)] == _CALLABLE_NOP).all(axis=1)] = Place.CALLABLE_NOP
    return kinds
