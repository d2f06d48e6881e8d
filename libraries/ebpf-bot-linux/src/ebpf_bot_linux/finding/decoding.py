"""Decoding x86 instructions, one behind the other, and what each can lead to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from capstone import Cs

__all__ = ["COMPUTED", "Instruction", "decoded"]

COMPUTED: Final = -1
"""The target of what transfers control to an address that a register or memory holds."""

_PREFIXES: Final = frozenset({"", "lock", "rep", "repe", "repne"})
_WORDS: Final = (
    "adc add and andn bextr blsi blsmsk blsr bsf bsr bswap bt btc btr bts bzhi cbw cdq cdqe clc cld cmc "
    "cmp cmpxchg cmpxchg16b cmpxchg8b cqo cwd cwde dec endbr64 imul inc lea lfence lodsb lodsd lodsq "
    "lodsw lzcnt mfence mov movabs movbe movnti movsb movsd movsq movsw movsx movsxd movzx mul mulx neg "
    "nop not or pause pdep pext pop popcnt prefetchnta prefetcht0 prefetcht1 prefetcht2 prefetchw push "
    "rcl rcr rol ror rorx sar sarx sbb scasb scasd scasq scasw sfence shl shld shlx shr shrd shrx stc std "
    "stosb stosd stosq stosw sub test tzcnt vzeroall vzeroupper xadd xchg xor"
)
_STRAIGHT: Final = frozenset(_WORDS.split())
"""Behind these comes the next instruction, unless they fault."""
_STRAIGHT_START: Final = ("cmov", "set")
_VECTOR: Final = re.compile(r"\b(?:[xyz]?mm\d+|k[0-7])\b")
"""No instruction with a vector register transfers control."""
_NO_ACCESS: Final = frozenset(
    {"lea", "nop", "prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2", "prefetchw"}
)
_UNSEEN_ACCESS: Final = ("maskmov", "vmaskmovdqu")
"""They store to where a register leads that they do not name."""
_SURE: Final = re.compile(r"\[(?:rsp|rip)(?: [+-] 0x[0-9a-f]+| [+-] \d)?\]|fs:\[0x[0-9a-f]+\]")
"""The stack, data beside the code, the thread's own block."""
_NEVER_GOES_ON: Final = frozenset({"jmp", "ret", "retf", "ud0", "ud1", "ud2", "hlt", "int3", "iretq", "ljmp"})
_PADDING: Final = frozenset({"nop", "int3"})
_TO_TARGET: Final = ("j", "loop", "call", "xbegin")


@attrs.frozen
class Instruction:
    """One instruction: where it begins, how many bytes it has, and what it is in capstone's words."""

    address: int
    size: int
    mnemonic: str
    operands: str

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.address + self.size

    @property
    def goes_on(self) -> bool:
        """Whether nothing but the next instruction can follow it, unless it faults."""
        prefix, _, word = self.mnemonic.rpartition(" ")
        if prefix not in _PREFIXES:
            return False
        return word in _STRAIGHT or word.startswith(_STRAIGHT_START) or bool(_VECTOR.search(self.operands))

    @property
    def never_goes_on(self) -> bool:
        """Whether the next instruction never follows it."""
        return self.mnemonic.rpartition(" ")[2] in _NEVER_GOES_ON

    @property
    def may_fault(self) -> bool:
        """Whether it uses memory that may not be there."""
        if self.mnemonic.startswith(_UNSEEN_ACCESS):
            return True
        return "[" in self.operands and self.mnemonic not in _NO_ACCESS and not self._uses_sure_memory

    @property
    def is_padding(self) -> bool:
        """Whether compilers fill gaps between functions with it."""
        return self.mnemonic.rpartition(" ")[2] in _PADDING

    @property
    def target(self) -> int | None:
        """Where it transfers control to, beside the next instruction: `COMPUTED`, or None if nowhere."""
        if not self.mnemonic.rpartition(" ")[2].startswith(_TO_TARGET):
            return None
        return int(self.operands, 16) if self.operands.startswith("0x") else COMPUTED

    @property
    def _uses_sure_memory(self) -> bool:
        return self.operands.count("[") == 1 and _SURE.search(self.operands) is not None


@cache
def _disassembler() -> Cs:
    # Not above: importing it takes 90 ms, and whoever watches system calls does without.
    from capstone import CS_ARCH_X86, CS_MODE_64, Cs  # noqa: PLC0415

    return Cs(CS_ARCH_X86, CS_MODE_64)


def decoded(code: bytes, address: int) -> Iterator[Instruction]:
    """Yield the instructions of 64-bit x86 code, up to the first bytes that are none.

    Args:
        address: of the first byte.
    """
    return (Instruction(*parts) for parts in _disassembler().disasm_lite(code, address))
