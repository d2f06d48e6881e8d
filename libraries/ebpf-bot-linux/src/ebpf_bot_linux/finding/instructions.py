"""Instructions that the kernel's uprobes refuse, or run wrongly, told from the bytes alone.

Refused means: registering a uprobe there succeeds while no process maps the file, and installs nothing when one does;
with the file mapped it fails with ENOTSUPP (524), and a uprobe_multi link fails as a whole. So such a probe could never
fire, and must be known before it is tried.

The rule is the kernel's own, in kernel/events/uprobes.c and arch/x86/kernel/uprobes.c: `prepare_uprobe` refuses a
breakpoint (`is_trap_insn`: a first byte of CC), and `is_prefix_bad` refuses an instruction with LOCK (F0) or an ES, CS,
SS or DS override (26, 2E, 36, 3E) among its legacy prefixes. FS and GS overrides are allowed. Opcodes that the kernel
does not know as those of user space are refused too; `stepping` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.emulation import are_nops
from ebpf_bot_linux.finding.files import OpenFile
from ebpf_bot_linux.finding.stepping import LONGEST, misrun, unknown

__all__ = ["misrun_in", "nops_in", "refused_in"]

_BREAKPOINT: Final = 0xCC
_X86: Final = ("EM_X86_64", "EM_386")
_WINDOW: Final = 1 << 20
"""Bytes of code that are read at once."""


def _flags(*values: int) -> NDArray[np.bool_]:
    flags = np.zeros(256, np.bool_)
    flags[list(values)] = True
    return flags


_LEGACY_PREFIX: Final = _flags(0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3)
_BAD_PREFIX: Final = _flags(0x26, 0x2E, 0x36, 0x3E, 0xF0)


def refused_in(file: OpenFile, machine: str | int) -> Callable[[NDArray[np.uint64]], NDArray[np.bool_]]:
    """Return what says of ascending offsets inside the file, each, whether a uprobe there could never fire.

    Args:
        machine: the architecture of the file, as `Elf.machine` has it; where it is not x86_64 nothing is refused.
    """
    if machine != "EM_X86_64":
        return lambda offsets: np.zeros(len(offsets), np.bool_)
    return lambda offsets: _judged(file, offsets, _refused)


def misrun_in(file: OpenFile, machine: str | int) -> Callable[[NDArray[np.uint64]], NDArray[np.bool_]]:
    """Return what says of ascending offsets inside the file, each, whether a uprobe there would change the program.

    `stepping` says which. Code for 32-bit x86 is judged as if it were for 64.

    Args:
        machine: as for `refused_in`; where it is not x86 nothing is misrun.
    """
    if machine not in _X86:
        return lambda offsets: np.zeros(len(offsets), np.bool_)
    return lambda offsets: _judged(file, offsets, lambda code, at: misrun(_instructions(code, at)))


def nops_in(file: OpenFile, machine: str | int) -> Callable[[NDArray[np.uint64]], NDArray[np.bool_]]:
    """Return what says of ascending offsets inside the file, each, whether a nop stands there.

    Args:
        machine: as for `refused_in`; where it is not x86_64 everything is taken for a nop.
    """
    if machine != "EM_X86_64":
        return lambda offsets: np.ones(len(offsets), np.bool_)
    return lambda offsets: _judged(file, offsets, lambda code, at: are_nops(_instructions(code, at)))


def _judged(
    file: OpenFile,
    offsets: NDArray[np.uint64],
    rule: Callable[[NDArray[np.uint8], NDArray[np.intp]], NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Apply a rule on (code, positions in it) to the instructions at some offsets."""
    judged = np.zeros(len(offsets), np.bool_)
    for rows in _windows(offsets):
        start = int(offsets[rows.start])
        end = min(int(offsets[rows.stop - 1]) + LONGEST, file.size)
        # Zeroes after the last byte of the file: 00 is an opcode, so no prefix is sought beyond it.
        code = np.frombuffer(file.read(start, end - start) + bytes(LONGEST), np.uint8)
        judged[rows] = rule(code, (offsets[rows] - np.uint64(start)).astype(np.intp))
    return judged


def _windows(offsets: NDArray[np.uint64]) -> Iterator[slice]:
    """Yield slices of neighbours, so that code far apart is not read with all that lies between."""
    if len(offsets):
        cuts = np.flatnonzero(np.diff(offsets // np.uint64(_WINDOW))) + 1
        edges = [0, *cuts.tolist(), len(offsets)]
        yield from map(slice, edges[:-1], edges[1:])


def _refused(code: NDArray[np.uint8], at: NDArray[np.intp]) -> NDArray[np.bool_]:
    refused: NDArray[np.bool_] = (code[at] == _BREAKPOINT) | unknown(_instructions(code, at))
    in_prefixes = np.ones(len(at), np.bool_)
    for _ in range(LONGEST):
        byte = code[at]
        in_prefixes &= _LEGACY_PREFIX[byte]
        if not in_prefixes.any():
            break
        refused |= in_prefixes & _BAD_PREFIX[byte]
        at = at + in_prefixes
    return refused


def _instructions(code: NDArray[np.uint8], at: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return the bytes at some positions, shape (n, LONGEST)."""
    found: NDArray[np.uint8] = code[at[:, None] + np.arange(LONGEST)]
    return found
