"""Grafting: putting a few instructions of ours before a function of a user's, so that its hits are counted as any others.

What is put there is a function of programs.c, whose result says whether the hit counts. The verifier checks both as one
program. A 64-bit load takes the room of two instructions, the second of which has the code 0, as no other instruction
has. Their encoding: Documentation/bpf/standardization/instruction-set.rst of Linux.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

__all__ = ["graft", "maps_of", "with_maps"]

_INSTRUCTION: Final = struct.Struct(
    "=BBhi"
)  # struct bpf_insn: code, registers (source in the upper half), off, imm
_SIZE: Final = _INSTRUCTION.size
_EXIT, _JUMP, _JUMP_UNLESS_0, _MOVE, _LOAD, _STORE, _LOAD_64 = 0x95, 0x05, 0x55, 0xB7, 0x79, 0x7B, 0x18
_R0, _R1, _STACK = 0, 1, 10
_CONTEXT: Final = -256
"""Where on the stack the context waits, deeper than the functions of programs.c reach."""
_MAP_INDEX: Final = 5  # BPF_PSEUDO_MAP_IDX


def graft(admit: bytes, function: bytes, site: int | None = None) -> bytes:
    """Return a program that runs `admit`, and then, unless that gave 0, `function` with the context as it came.

    Args:
        admit: instructions of one function that calls no other; each of its exits leads to what follows.
        site: what `admit` is given in place of the context; 31 bits.
    """
    before = _INSTRUCTION.pack(_STORE, _R1 << 4 | _STACK, _CONTEXT, 0)
    if site is not None:
        before += _INSTRUCTION.pack(_MOVE, _R1, 0, site)
    length = len(admit) // _SIZE
    led = bytearray(admit)
    for i in range(length):
        if led[i * _SIZE] == _EXIT:
            _INSTRUCTION.pack_into(led, i * _SIZE, _JUMP, 0, length - i - 1, 0)
    between = (
        _INSTRUCTION.pack(_JUMP_UNLESS_0, _R0, 1, 0)
        + _INSTRUCTION.pack(_EXIT, 0, 0, 0)
        + _INSTRUCTION.pack(_LOAD, _STACK << 4 | _R1, _CONTEXT, 0)
    )
    return before + bytes(led) + between + function


def maps_of(insns: bytes) -> frozenset[int]:
    """Return the places of the maps that instructions refer to."""
    return frozenset(_INSTRUCTION.unpack_from(insns, at)[3] for at in _map_loads(insns))


def with_maps(insns: bytes, places: Mapping[int, int]) -> bytes:
    """Return instructions that refer to maps by other places."""
    moved = bytearray(insns)
    for at in _map_loads(insns):
        code, registers, off, imm = _INSTRUCTION.unpack_from(insns, at)
        _INSTRUCTION.pack_into(moved, at, code, registers, off, places[imm])
    return bytes(moved)


def _map_loads(insns: bytes) -> list[int]:
    return [
        i * _SIZE
        for i in range(len(insns) // _SIZE)
        if insns[i * _SIZE] == _LOAD_64 and insns[i * _SIZE + 1] >> 4 == _MAP_INDEX
    ]
