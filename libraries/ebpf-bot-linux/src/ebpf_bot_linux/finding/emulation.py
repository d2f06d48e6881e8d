"""Instructions that the kernel's uprobes emulate, so that a hit costs little; the others are stepped in a copy.

Told from the first two bytes. Every kernel with uprobes emulates the near jumps and calls with a distance, `nop` of one
byte, and `push` of a register, with REX.B or without it (arch/x86/kernel/uprobes.c: `branch_setup_xol_ops`,
`push_setup_xol_ops`). Since 6.18 it emulates longer nops as well; they are told apart, since before they are stepped.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.stepping import LONGEST

__all__ = ["CALL", "LONGEST", "NOP", "are_emulated", "are_nops", "is_emulated"]

NOP: Final = 0x90
CALL: Final = 0xE8
_JMP: Final = (0xE9, 0xEB)
_PUSH: Final = range(0x50, 0x58)
_SHORT_JCC: Final = range(0x70, 0x80)
_LONG_JCC: Final = range(0x80, 0x90)
_REX_B: Final = 0x41
_TWO_BYTES: Final = 0x0F
_LONG_NOP: Final = 0x1F
_OPERAND_SIZE: Final = 0x66


def _emulated() -> NDArray[np.bool_]:
    table = np.zeros((256, 256), np.bool_)
    table[[NOP, CALL, *_JMP, *_PUSH, *_SHORT_JCC]] = True
    table[_REX_B, _PUSH] = True
    table[_TWO_BYTES, _LONG_JCC] = True
    return table


_EMULATED: Final = _emulated()
"""By the first byte and the second."""
_EMULATED_BYTES: Final = _EMULATED.tobytes()
"""The same; one element of it is read ten times as fast."""


def is_emulated(first: int, second: int) -> bool:
    """Whether every kernel emulates an instruction of 64-bit x86 code that begins with these two bytes."""
    return bool(_EMULATED_BYTES[first << 8 | second])


def are_emulated(code: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the same of each of some instructions, shape (n,).

    Args:
        code: shape (n, LONGEST), 64-bit code from the first byte of each instruction, zeros behind the file's end.
    """
    emulated: NDArray[np.bool_] = _EMULATED[code[:, 0], code[:, 1]]
    return emulated


def are_nops(code: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where 90 or 0F 1F stands, also behind operand-size prefixes (66), as assemblers pad; shape (n,).

    Args:
        code: as for `are_emulated`.
    """
    rows, at = np.arange(len(code)), np.zeros(len(code), np.intp)
    for _ in range(LONGEST - 2):
        at += code[rows, at] == _OPERAND_SIZE
    first, second = code[rows, at], code[rows, at + 1]
    nops: NDArray[np.bool_] = (first == NOP) | (first == _TWO_BYTES) & (second == _LONG_NOP)
    return nops
