"""Jumps: which pieces of code are reached by another way than through their first instruction.

A direct jump or call holds the distance to its target. So every byte of the executable segments is taken for the first
one of a jump, and its target looked for in the pieces. A distance of 32 bits that leads there is hardly ever chance, so
it is believed. One of 8 bits often is: where following control from the function before it proves that these bytes are
those of something else, it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.decoding import COMPUTED, Instruction
from ebpf_bot_linux.finding.following import Followed

__all__ = ["Code", "Pieces", "indirect_jumps", "jumped_into"]

_WINDOW: Final = 1 << 20
"""Bytes that are searched at once."""
_NEAR: Final = 512
"""How many bytes of a function are followed to tell what is at a place; most of them are shorter."""
_FAR: Final = 1 << 16
"""The same where it is worth more."""


def _bytes(*values: int) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(values)] = True
    return table


_SHORT: Final = _bytes(*range(0x70, 0x80), *range(0xE0, 0xE4), 0xEB)
"""jcc, loop, jrcxz and jmp with a distance of 8 bits."""
_LONG: Final = _bytes(0xE8, 0xE9)
"""call and jmp with one of 32."""
_TWO_BYTES: Final = {0x0F: _bytes(*range(0x80, 0x90)), 0xC7: _bytes(0xF8)}
"""jcc and xbegin with one of 32."""
_INDIRECT: Final = _bytes(*(byte for byte in range(256) if byte & 0x38 == 0x20))  # noqa: PLR2004
"""Behind FF: jmp to what a register or memory holds."""


@attrs.frozen(eq=False)
class Code:
    """One executable segment: its bytes, and the address of the first."""

    address: int
    content: bytes

    def part(self, start: int, end: int) -> bytes:
        """Return the bytes from one address to another, as far as they are in it."""
        return self.content[max(start - self.address, 0) : max(end - self.address, 0)]


@attrs.frozen(eq=False)
class Pieces:
    """Pieces of code that do not overlap: of each the address of the first and that of the last instruction.

    Attributes:
        first: int64, ascending; likewise `last`.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def holding(self, addresses: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return which piece each of some addresses lies in, behind its first byte; -1 for none."""
        which = np.searchsorted(self.first, addresses) - 1
        inside = (which >= 0) & (addresses <= self.last[which])
        return np.where(inside, which, -1)


def jumped_into(
    codes: Sequence[Code], pieces: Pieces, functions: NDArray[np.int64], *, far: bool = False
) -> NDArray[np.bool_]:
    """Return into which pieces something may jump behind their first byte, by a direct jump or a call.

    Args:
        codes: all executable segments.
        functions: addresses of functions, ascending; control is followed from there.
        far: follow it as far as the function goes, for a few pieces.
    """
    reached = np.zeros(len(pieces.first), np.bool_)
    if not len(reached):
        return reached
    for code in codes:
        followed = Followed(code.part, functions, _FAR if far else _NEAR)
        for _, target in _distances(code, _long_jumps, 4):
            which = pieces.holding(target)
            reached[which[which >= 0]] = True
        for source, target in _distances(code, _short_jumps, 1):
            which = pieces.holding(target)
            for i in np.flatnonzero(which >= 0).tolist():
                piece, place = int(which[i]), int(source[i])
                within = pieces.first[piece] <= place < pieces.last[piece]
                if not within and not reached[piece]:
                    over = followed.over(place)
                    reached[piece] = not over or any(each.target == target[i] for each in over)
    return reached


def indirect_jumps(
    codes: Sequence[Code],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    functions: NDArray[np.int64],
    *,
    far: bool = False,
) -> NDArray[np.bool_]:
    """Return which stretches of code, from `starts` to `ends`, may hold a jump to a computed address.

    Args:
        functions: as for `jumped_into`.
        far: leave out what following control proves to be something else, which takes long for many.
    """
    held = np.zeros(len(starts), np.bool_)
    for code in codes:
        found = np.concatenate(
            [
                np.zeros(0, np.int64),
                *(
                    np.flatnonzero((part[:-1] == 0xFF) & _INDIRECT[part[1:]]) + (code.address + at)  # noqa: PLR2004
                    for at, part in _windows(code, 1)
                ),
            ]
        )
        first, last = np.searchsorted(found, starts), np.searchsorted(found, ends)
        here = last > first
        if far:
            followed = Followed(code.part, functions, _FAR)
            for i in np.flatnonzero(here).tolist():
                here[i] = any(
                    _may_compute(followed.over(place)) for place in found[first[i] : last[i]].tolist()
                )
        held |= here
    return held


def _may_compute(over: list[Instruction]) -> bool:
    return not over or any(each.target == COMPUTED for each in over)


def _windows(code: Code, behind: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield stretches of a segment, each with where it begins and so many bytes more than are its own."""
    content = np.frombuffer(code.content, np.uint8)
    for at in range(0, len(content), _WINDOW):
        yield at, content[at : at + _WINDOW + behind]


def _short_jumps(part: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Yield where jumps of 8 bits may begin, and how many bytes stand before the distance."""
    yield np.flatnonzero(_SHORT[part]), 1


def _long_jumps(part: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Yield the same for those of 32 bits."""
    yield np.flatnonzero(_LONG[part]), 1
    for first, second in _TWO_BYTES.items():
        yield np.flatnonzero((part[:-1] == first) & second[part[1:]]), 2


def _distances(
    code: Code,
    jumps: Callable[[NDArray[np.uint8]], Iterator[tuple[NDArray[np.intp], int]]],
    width: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the addresses of what may be jumps, and of their targets.

    Args:
        width: bytes of a distance.
    """
    for at, part in _windows(code, width + 1):
        count = len(part) - width + 1
        if count <= 0:
            continue
        # Every position as a number of that width, wherever it begins.
        numbers = np.ndarray((count,), f"<i{width}", part, strides=(1,))
        for found, opcode in jumps(part[:count]):
            place = found[found + opcode < count].astype(np.int64)
            source = place + (code.address + at)
            yield source, source + (opcode + width) + numbers[place + opcode]
