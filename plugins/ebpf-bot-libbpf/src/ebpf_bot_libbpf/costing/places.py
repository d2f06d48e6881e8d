"""Kinds of places in code, by what a hit there costs: that depends on how the kernel runs the instruction it replaced.

A uprobe replaces an instruction by a breakpoint. The kernel emulates a few instructions; the others it steps in a copy
elsewhere, which costs a second exception and a scheduling barrier, some 12 us in place of 0.7 (arch/x86/kernel/uprobes.c:
`branch_setup_xol_ops`, `push_setup_xol_ops`). From kernel 6.18 a 5-byte nop becomes a call, without any exception.
"""

from __future__ import annotations

import enum
import platform
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST", "Place", "is_emulated", "places"]

LONGEST: Final = 15
"""Bytes of the longest x86 instruction."""

_REX_B: Final = 0x41


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
        code: shape (n, 15), 64-bit code from the first byte of each instruction.
    """
    kinds = np.full(len(code), Place.STEPPED, np.intp)
    if platform.machine() != "x86_64":
        return kinds
    kinds[is_emulated(code)] = Place.EMULATED
    bare = code[:, 0] == 0x0F  # noqa: PLR2004 - 0f 1f is nop with an operand
    long_nop = bare & (code[:, 1] == 0x1F)  # noqa: PLR2004
    kinds[long_nop] = Place.LONG_NOP
    kinds[(code[:, 0] == 0x66) & ((code[:, 1] == 0x90) | (code[:, 1] == 0x0F) & (code[:, 2] == 0x1F))] = (  # noqa: PLR2004
        Place.LONG_NOP
    )
    kinds[(code[:, :5] == (0x0F, 0x1F, 0x44, 0x00, 0x00)).all(axis=1)] = Place.CALLABLE_NOP
    return kinds


def is_emulated(code: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which instructions every kernel with uprobes emulates, shape (n,); `code` as for `places`.

    Those are the near jumps and calls without prefix, `nop`, and `push` of a register, with REX.B or without.
    """
    first, second = code[:, 0], code[:, 1]
    near = np.isin(first, (0xE8, 0xE9, 0xEB, 0x90)) | (first >> 4 == 0x7)  # noqa: PLR2004 - 70-7f: jcc
    near |= (first == 0x0F) & (second >> 4 == 0x8)  # noqa: PLR2004 - 0f 80-8f: jcc
    push = (first >> 3 == 0x50 >> 3) | (first == _REX_B) & (second >> 3 == 0x50 >> 3)
    emulated: NDArray[np.bool_] = near | push
    return emulated
