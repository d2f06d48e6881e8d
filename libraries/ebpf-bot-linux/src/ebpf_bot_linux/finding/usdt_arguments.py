"""Where the arguments of a USDT probe are, as the third text of its note says.

The macros of sys/sdt.h write one word for each argument, `N@OPERAND`: N is its size in bytes, negative where it has a
sign, followed by `f` where it is a floating point number; OPERAND is what an assembler would write
(systemtap's wiki page "UserSpaceProbeImplementation"). On x86_64 that is `$5`, `%edi`, `8(%rsp)`, `(%rdx,%rax,4)`; on
arm64 `5`, `x1`, `[sp, 60]`, `[x0, x1]`. What else there may be (floating point registers, addresses relative to a symbol,
segments) cannot be read by a program, and is None here: such an argument is left out, and the others keep their numbers.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["MOST", "Operand", "Place", "usdt_arguments"]

MOST: Final = 12
"""Arguments that a USDT probe can have: STAP_PROBE12 is the last macro of sys/sdt.h."""


class Place(enum.IntEnum):
    """`enum place` of stream.bpf.c."""

    CONSTANT = 1
    REGISTER = 2
    MEMORY = 3
    INDEXED_MEMORY = 4


@attrs.frozen
class Operand:
    """Where one argument is.

    Attributes:
        size: bytes: 1, 2, 4 or 8.
        constant: the value, or what is added to the address; modulo 2**64.
        base: where in the kernel's struct pt_regs the register is, in bytes; likewise `index`.
        scale: by how many bits the index is shifted.
    """

    place: Place
    size: int
    is_signed: bool
    constant: int = 0
    base: int = 0
    index: int = 0
    scale: int = 0


_WORD: Final = re.compile(r"(-?)([1248])@(\S+)")
_MOST_TEXT: Final = 4096

_NUMBER: Final = r"[+-]?(?:0x[0-9a-f]{1,16}|\d{1,20})"
_X86_CONSTANT: Final = re.compile(rf"\$({_NUMBER})")
_X86_REGISTER: Final = re.compile(r"%(\w+)")
_X86_MEMORY: Final = re.compile(rf"({_NUMBER})?\(%(\w+)(?:,%(\w+)(?:,([1248]))?)?\)")
_ARM_CONSTANT: Final = re.compile(rf"({_NUMBER})")
_ARM_REGISTER: Final = re.compile(r"[xw](\d{1,2})|sp")
_ARM_MEMORY: Final = re.compile(rf"\[(\w+)(?:,({_NUMBER})|,(\w+))?\]")


def _x86_registers() -> dict[str, int]:
    """Return where in struct pt_regs each register is, by all its names that mean its low bits."""
    legacy = {"bp": 4, "bx": 5, "ax": 10, "cx": 11, "dx": 12, "si": 13, "di": 14, "ip": 16, "sp": 19}
    numbered = {"r15": 0, "r14": 1, "r13": 2, "r12": 3, "r11": 6, "r10": 7, "r9": 8, "r8": 9}
    places: dict[str, int] = {}
    for name, number in (legacy | numbered).items():
        if name[-1].isdigit():
            spelled = [name, f"{name}d", f"{name}w", f"{name}b"]
        else:
            low = f"{name[0]}l" if name[-1] == "x" else f"{name}l"
            spelled = [f"r{name}", f"e{name}", name, low]
        places.update(dict.fromkeys(spelled, 8 * number))
    return places


_X86_REGISTERS: Final = _x86_registers()


def usdt_arguments(text: str, machine: str) -> tuple[Operand | None, ...]:
    """Return where the arguments are, at most `MOST` of them; any text gives an answer.

    Args:
        machine: as uname(2) gives it.
    """
    # Only arm64 has spaces inside a word.
    words = re.sub(r",\s+", ",", text[:_MOST_TEXT]).split()[:MOST]
    read = {"x86_64": _x86, "aarch64": _arm}.get(machine)
    return tuple(_operand(word, read) if read else None for word in words)


def _operand(word: str, read: Callable[[str], Operand | None]) -> Operand | None:
    match = _WORD.fullmatch(word)
    found = read(match[3]) if match else None
    if match is None or found is None:
        return None
    return attrs.evolve(found, size=int(match[2]), is_signed=match[1] == "-")


def _x86(text: str) -> Operand | None:
    if constant := _X86_CONSTANT.fullmatch(text):
        return Operand(Place.CONSTANT, 8, is_signed=False, constant=_number(constant[1]))
    if register := _X86_REGISTER.fullmatch(text):
        base = _X86_REGISTERS.get(register[1])
        return None if base is None else Operand(Place.REGISTER, 8, is_signed=False, base=base)
    memory = _X86_MEMORY.fullmatch(text)
    if memory is None:
        return None
    base, index = _X86_REGISTERS.get(memory[2]), _X86_REGISTERS.get(memory[3] or "rax")
    if base is None or index is None:
        return None
    offset, scale = _number(memory[1] or "0"), int(memory[4] or "1").bit_length() - 1
    if memory[3] is None:
        return Operand(Place.MEMORY, 8, is_signed=False, constant=offset, base=base)
    return Operand(
        Place.INDEXED_MEMORY, 8, is_signed=False, constant=offset, base=base, index=index, scale=scale
    )


def _arm(text: str) -> Operand | None:
    if constant := _ARM_CONSTANT.fullmatch(text):
        return Operand(Place.CONSTANT, 8, is_signed=False, constant=_number(constant[1]))
    base = _arm_register(text)
    if base is not None:
        return Operand(Place.REGISTER, 8, is_signed=False, base=base)
    memory = _ARM_MEMORY.fullmatch(text)
    base, index = (_arm_register(memory[1]), _arm_register(memory[3] or "x0")) if memory else (None, None)
    if memory is None or base is None or index is None:
        return None
    offset = _number(memory[2] or "0")
    if memory[3] is None:
        return Operand(Place.MEMORY, 8, is_signed=False, constant=offset, base=base)
    return Operand(Place.INDEXED_MEMORY, 8, is_signed=False, constant=offset, base=base, index=index)


def _arm_register(text: str) -> int | None:
    """Return where in struct pt_regs a register is: x0 to x30, then sp."""
    match = _ARM_REGISTER.fullmatch(text)
    if match is None:
        return None
    number = 31 if match[1] is None else int(match[1])
    return 8 * number if match[1] is None or number < 31 else None  # noqa: PLR2004 - x31 is no register


def _number(text: str) -> int:
    return int(text, 0 if "x" in text else 10) % (1 << 64)
