"""Following control from where functions begin: what that proves of the bytes that it comes to.

Bytes that look like a jump may lie within another instruction. Where following every direct jump and every next
instruction from the entry of a function leads to that other one, it is what the processor runs there. Behind an
instruction that never goes on, data may follow: it is not looked at unless a jump leads there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.decoding import Instruction, decoded

__all__ = ["Followed"]

_LONGEST: Final = 15
"""Bytes of the longest instruction."""


@attrs.define(eq=False)
class Followed:
    """The instructions of functions, found by following control; of each function once.

    Args:
        part: returns the bytes from one address to another, as far as there are any.
        functions: addresses where functions begin, ascending.
        most: bytes of a function that are followed; nothing is proved of what lies farther.
    """

    part: Callable[[int, int], bytes]
    functions: NDArray[np.int64]
    most: int
    _found: dict[int, dict[int, Instruction]] = attrs.field(factory=dict, init=False)

    def over(self, place: int) -> list[Instruction]:
        """Return the instructions that a byte is a part of; none if following does not lead to it.

        They are several where code jumps into the middle of an instruction. Nothing is proved where following leads
        to bytes that are no instruction.
        """
        row = int(np.searchsorted(self.functions, place, "right")) - 1
        if row < 0 or place - self.functions[row] >= self.most:
            return []
        begin = int(self.functions[row])
        end = begin + self.most
        if row + 1 < len(self.functions):
            end = min(end, int(self.functions[row + 1]))
        if begin not in self._found:
            self._found[begin] = self._follow(begin, end)
        found = self._found[begin]
        near = (found.get(address) for address in range(place - _LONGEST + 1, place + 1))
        return [instruction for instruction in near if instruction is not None and instruction.end > place]

    def _follow(self, begin: int, end: int) -> dict[int, Instruction]:
        found: dict[int, Instruction] = {}
        leads = [begin]
        while leads:
            address = leads.pop()
            if address in found:
                continue
            content = self.part(address, end + _LONGEST)
            known = min(end, address + len(content))
            for instruction in decoded(content, address):
                address = instruction.address
                if address in found or address >= end:
                    break
                found[address] = instruction
                if instruction.target is not None and begin <= instruction.target < end:
                    leads.append(instruction.target)
                address = instruction.end
                if instruction.never_goes_on:
                    break
            else:
                if address < known:
                    return {}
        return found
