"""Entry blocks: the instructions that a function always runs from its entry on, as far as that can be proved.

They are decoded one behind the other from the entry, which proves where each of them begins. The block goes on as long
as nothing but the next instruction can follow; the first that transfers control is its last. So is the first that could
fault, unless it must be passed: a call that dies there has entered the function, and would not be counted behind it.
The stack, data beside the code and the thread's own block are taken for readable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.decoding import Instruction, decoded

__all__ = ["MAX_BLOCK", "cheap_behind", "probeable_behind"]

MAX_BLOCK = 128
"""Bytes of a function that are looked at; prologues end long before."""


def cheap_behind(code: bytes, is_cheap: Callable[[bytes, int], bool], *, past_faults: bool) -> int:
    """Return how far behind the entry the first cheap instruction of the entry block begins; 0 if none does.

    Args:
        code: the function from its entry on.
        is_cheap: whether the instruction at a position of the code is.
        past_faults: go on behind instructions that could fault.
    """
    return next((at for at in _boundaries(code, past_faults=past_faults) if is_cheap(code, at)), 0)


def probeable_behind(code: bytes, can_probe: Callable[[NDArray[np.intp]], NDArray[np.bool_]]) -> int:
    """Return the same of the first instruction behind the entry that can be probed, also behind one that could fault.

    Args:
        can_probe: says of positions in the code, each, whether a probe there would work.
    """
    behind = np.fromiter(_boundaries(code, past_faults=True), np.intp)
    good = behind[can_probe(behind)]
    return int(good[0]) if len(good) else 0


def _boundaries(code: bytes, *, past_faults: bool) -> Iterator[int]:
    """Yield where the instructions of the entry block begin, except the first one."""
    before: Instruction | None = None
    for instruction in decoded(code[:MAX_BLOCK], 0):
        if before is not None:
            if not before.goes_on or (before.may_fault and not past_faults):
                return
            yield instruction.address
        before = instruction
