"""Instructions that the kernel accepts a uprobe on, and then runs wrongly: probing them would change the program.

A uprobe replaces an instruction by a breakpoint, and the kernel runs the instruction itself: it emulates it, or steps it
in a copy elsewhere and mends what depended on its place. Which of them, arch/x86/kernel/uprobes.c decides from the first
opcode byte that the kernel's decoder gives (`branch_setup_xol_ops`, `arch_uprobe_analyze_insn`). For VEX and EVEX
instructions (AVX, AVX-512, BMI) that byte belongs to another table, so that `vpcmpeqd` (76) is taken for `jbe` and `vpor`
(eb) for `jmp`. Seen on kernel 6.18: with a probe on it, glibc's `__memset_avx512_unaligned_erms` does not set memory.

- VEX or EVEX, opcode 70-7f, e8, e9, eb, 90: emulated as a jump, a call or nothing, so it has no effect;
- VEX or EVEX, opcode c2, c3, ca, cb, ff: its place is not mended, so execution goes on in the copy;
- VEX or EVEX, opcode 9d: taken for `popf`, so that the trap flag stays and SIGTRAP ends the program;
- XOP (8f with anything but `pop`): likewise of another table;
- `xchg %rax, %r8` (REX.B 90): emulated as `nop`;
- `syscall`, `sysenter`: the step does not end behind them;
- a repeated string instruction: every repetition hits the probe, so that calls cannot be counted.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST", "misrun"]

LONGEST: Final = 15
"""Bytes of the longest x86 instruction."""


def _bytes(*values: int) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(values)] = True
    return table


_PREFIX: Final = _bytes(0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3)
_REPEAT: Final = _bytes(0xF2, 0xF3)
_STRING: Final = _bytes(*range(0x6C, 0x70), *range(0xA4, 0xA8), *range(0xAA, 0xB0))
_OPCODE_AT: Final = np.zeros(256, np.intp)
"""For the first byte of a VEX or EVEX instruction, how far behind it the opcode stands."""
_OPCODE_AT[[0xC5, 0xC4, 0x62]] = 2, 3, 4
_MISTAKEN: Final = _bytes(*range(0x70, 0x80), 0x90, 0x9D, 0xC2, 0xC3, 0xCA, 0xCB, 0xE8, 0xE9, 0xEB, 0xFF)
_ENTRY: Final = _bytes(0x05, 0x34)
"""Behind 0f: syscall, sysenter."""


def misrun(code: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return for which of some instructions a uprobe would change what the program does, shape (n,).

    Args:
        code: shape (n, LONGEST), 64-bit code from the first byte of each instruction, zeros behind the file's end.
    """
    rows = np.arange(len(code))
    padded = np.pad(code, ((0, 0), (0, 5)))
    at = np.zeros(len(code), np.intp)
    repeated = np.zeros(len(code), np.bool_)
    for _ in range(LONGEST - 1):
        byte = padded[rows, at]
        repeated |= _REPEAT[byte]
        at += _PREFIX[byte]
    first = padded[rows, at]
    has_rex = first >> 4 == 4  # noqa: PLR2004 - 40-4f
    rex_b = has_rex & (first & 1 == 1)
    opcode, second = padded[rows, at + has_rex], padded[rows, at + has_rex + 1]
    vector = (_OPCODE_AT[first] > 0) & _MISTAKEN[padded[rows, at + _OPCODE_AT[first]]]
    xop = (first == 0x8F) & (second & 0x38 != 0)  # noqa: PLR2004 - pop is 8f /0
    exchange = rex_b & (opcode == 0x90)  # noqa: PLR2004
    kernel_entry = (opcode == 0x0F) & _ENTRY[second]  # noqa: PLR2004
    wrong: NDArray[np.bool_] = vector | xop | exchange | kernel_entry | (repeated & _STRING[opcode])
    return wrong
