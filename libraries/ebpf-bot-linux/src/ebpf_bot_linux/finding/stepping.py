"""Instructions that the kernel takes for others: it refuses uprobes on them, or runs them wrongly.

A uprobe replaces an instruction by a breakpoint, and the kernel runs the instruction itself: it emulates it, or steps it
in a copy elsewhere and mends what depended on its place. Which of them, arch/x86/kernel/uprobes.c decides from the first
opcode byte that the kernel's decoder gives (`branch_setup_xol_ops`, `arch_uprobe_analyze_insn`). For VEX and EVEX
instructions (AVX, AVX-512, BMI) that byte belongs to another table, so that `vpcmpeqd` (76) is taken for `jbe` and `vpor`
(eb) for `jmp`. Seen on kernel 6.18: with a probe on it, glibc's `__memset_avx512_unaligned_erms` does not set memory.

An opcode that its table leaves out is refused. The others are accepted, and a probe there changes the program:

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

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST", "misrun", "unknown"]

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


_UNKNOWN: Final = _bytes(
    *(0x06, 0x07, 0x0E, 0x16, 0x17, 0x1E, 0x1F, 0x27, 0x2F, 0x37, 0x3F, 0x60, 0x61, 0x62, *range(0x6C, 0x70)),
    *(0x82, 0x9A, *range(0xCC, 0xD0), 0xD4, 0xD5, 0xD6, *range(0xE4, 0xE8), 0xEA, *range(0xEC, 0xF0)),
    *(0xF1, 0xF4, 0xFA, 0xFB),
)
"""Opcodes that `good_insns_64` of arch/x86/kernel/uprobes.c leaves out, as invalid or privileged ones."""


@attrs.frozen(eq=False)
class _Opcodes:
    """Where some instructions have their opcodes, in columns."""

    first: NDArray[np.uint8]
    """The first byte behind the legacy prefixes."""
    rex_b: NDArray[np.bool_]
    opcode: NDArray[np.uint8]
    """Behind a REX prefix too; 0f where the opcode has two bytes."""
    second: NDArray[np.uint8]
    vector: NDArray[np.uint8]
    """The opcode byte of a VEX or EVEX instruction, 0 for others."""
    repeated: NDArray[np.bool_]

    @classmethod
    def of(cls, code: NDArray[np.uint8]) -> _Opcodes:
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
        vector = np.where(_OPCODE_AT[first] > 0, padded[rows, at + _OPCODE_AT[first]], 0).astype(np.uint8)
        rex_b = has_rex & (first & 1 == 1)
        return cls(first, rex_b, padded[rows, at + has_rex], padded[rows, at + has_rex + 1], vector, repeated)


def unknown(code: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return on which of some instructions uprobes refuse to be placed because of the opcode byte, shape (n,).

    The kernel looks that of a VEX or EVEX instruction up in the table for one byte, so that it takes `vmovd` (6e) for `outs`.

    Args:
        code: shape (n, LONGEST), as for `misrun`.
    """
    opcodes = _Opcodes.of(code)
    is_vector = _OPCODE_AT[opcodes.first] > 0
    refused: NDArray[np.bool_] = np.where(is_vector, _UNKNOWN[opcodes.vector], _UNKNOWN[opcodes.opcode])
    return refused


def misrun(code: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return for which of some instructions a uprobe would change what the program does, shape (n,).

    Args:
        code: shape (n, LONGEST), 64-bit code from the first byte of each instruction, zeros behind the file's end.
    """
    opcodes = _Opcodes.of(code)
    vector = (_OPCODE_AT[opcodes.first] > 0) & _MISTAKEN[opcodes.vector]
    xop = (opcodes.first == 0x8F) & (opcodes.second & 0x38 != 0)  # noqa: PLR2004 - pop is 8f /0
    exchange = opcodes.rex_b & (opcodes.opcode == 0x90)  # noqa: PLR2004
    kernel_entry = (opcodes.opcode == 0x0F) & _ENTRY[opcodes.second]  # noqa: PLR2004
    string = opcodes.repeated & _STRING[opcodes.opcode]
    wrong: NDArray[np.bool_] = vector | xop | exchange | kernel_entry | string
    return wrong
