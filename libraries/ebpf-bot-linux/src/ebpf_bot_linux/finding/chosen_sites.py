"""Choosing where within its entry block a function is probed, so that a hit costs little or is possible at all.

A breakpoint costs the target 0.8 us where the kernel emulates the instruction below it, and 12 us where it must step it
in a copy (`scripts/measure.py` shows both). `emulation` says which are emulated.

The count at the chosen place must be that of the entry in every case. So it lies in the entry block, behind
instructions that always go on; no symbol begins before it, nothing jumps between it and the entry, and a function that
may jump to computed addresses, itself or in a part elsewhere, is probed at its entry.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.elf import Segment
from ebpf_bot_linux.finding.emulation import CALL, NOP, is_emulated
from ebpf_bot_linux.finding.entry_blocks import MAX_BLOCK, cheap_behind, probeable_behind
from ebpf_bot_linux.finding.extents import Extents
from ebpf_bot_linux.finding.files import OpenFile
from ebpf_bot_linux.finding.jumps import Code, Pieces, indirect_jumps, jumped_into

__all__ = ["SiteChooser"]

_MAX_CODE: Final = 1 << 30
"""Bytes of code that are searched for jumps."""
_HIGHEST: Final = 1 << 62

_MAYBE_CHEAP: Final = re.compile(rb"[\x41\x50-\x57\x70-\x7f\x90\xe8\xe9\xeb]|\x0f[\x80-\x8f]")
"""With what a cheap instruction begins, wherever instructions begin."""

Judge = Callable[[NDArray[np.uint64]], NDArray[np.bool_]]
"""Says of ascending offsets in the file, each, whether a uprobe works there."""


@attrs.frozen(eq=False)
class SiteChooser:
    """Chooses the places of the functions of one binary; chooses the entries where it is not for x86_64.

    Args:
        segments: the executable ones.
        can_choose: whether the code is 64-bit x86.
        has_usdt: whether nops may belong to USDT probes, whose semaphores a probe there would have to raise.
    """

    segments: tuple[Segment, ...]
    extents: Extents
    can_choose: bool
    has_usdt: bool

    def choose(self, file: OpenFile, entries: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return the offset of the place where each function is best probed: its entry, or one behind it.

        Args:
            entries: file offsets where functions begin, ascending and each once.
        """

        def pick(code: bytes, _: int) -> int:
            if not code or self._is_cheap(code, 0) or not _MAYBE_CHEAP.search(code, 1):
                return 0  # without decoding: that takes most of the time
            return cheap_behind(code, self._is_cheap, past_faults=False)

        return self._choose(file, entries, pick)

    def rescue(self, file: OpenFile, entries: NDArray[np.uint64], can_probe: Judge) -> NDArray[np.uint64]:
        """Return the same for functions that cannot be probed at their entries; the entry if nowhere.

        Here a place may be one that costs much, and lie behind an instruction that could fault. The nearest one is
        taken where the cheapest is not sure to be run.
        """

        def nearest(code: bytes, entry: int) -> int:
            return probeable_behind(code, lambda at: can_probe((at + entry).astype(np.uint64)))

        def cheapest(code: bytes, _: int) -> int:
            return cheap_behind(code, self._is_cheap, past_faults=True)

        sites = self._choose(file, entries, cheapest, far=True)
        left = sites == entries
        sites[left] = self._choose(file, entries[left], nearest, far=True)
        return sites

    def _choose(
        self,
        file: OpenFile,
        entries: NDArray[np.uint64],
        pick: Callable[[bytes, int], int],
        *,
        far: bool = False,
    ) -> NDArray[np.uint64]:
        if not self.can_choose or not len(entries) or not self._is_sane():
            return entries.copy()
        codes = [Code(part.address, file.read(part.offset, part.size)) for part in self.segments]
        sites = entries.copy()
        for part, code in zip(self.segments, codes, strict=True):
            within = np.flatnonzero((entries >= part.offset) & (entries - np.uint64(part.offset) < part.size))
            address = entries[within].astype(np.int64) + (part.address - part.offset)
            behind = self._behind(codes, code, address, pick, part.offset - part.address, far=far)
            sites[within] += behind.astype(np.uint64)
        return sites

    def _behind(
        self,
        codes: list[Code],
        code: Code,
        entries: NDArray[np.int64],
        pick: Callable[[bytes, int], int],
        shift: int,
        *,
        far: bool,
    ) -> NDArray[np.int64]:
        """Return how far behind each entry its place is; all of them lie in one segment, at these addresses."""
        behind = np.zeros(len(entries), np.int64)
        row = self.extents.rows(entries)
        known = np.flatnonzero(row >= 0)
        limits = self.extents.limits(row[known])
        for i, entry, limit in zip(known.tolist(), entries[known].tolist(), limits.tolist(), strict=True):
            # All of the last instruction lies before the limit, so that it is not decoded from what follows.
            behind[i] = pick(code.part(entry, min(limit, entry + MAX_BLOCK)), entry + shift)
        moved = np.flatnonzero(behind)
        unsure = self._may_be_passed(codes, row[moved], entries[moved] + behind[moved], far=far)
        behind[moved[unsure]] = 0
        return behind

    def _may_be_passed(
        self, codes: list[Code], rows: NDArray[np.intp], sites: NDArray[np.int64], *, far: bool
    ) -> NDArray[np.bool_]:
        """Whether control may come to the place of each function by another way than through the entry."""
        extents = self.extents
        computed = np.zeros(len(extents.starts), np.bool_)
        looked_at = np.unique(np.concatenate([rows, extents.cold[:, 1]]))
        computed[looked_at] = indirect_jumps(
            codes, extents.starts[looked_at], extents.reaches[looked_at], extents.starts, far=far
        )
        of_unknown_size = extents.reaches == extents.starts
        whole, part = extents.cold.T
        computed[whole[(computed | of_unknown_size)[part]]] = True
        pieces = Pieces(extents.starts[rows], sites)
        return computed[rows] | jumped_into(codes, pieces, extents.starts, far=far)

    def _is_sane(self) -> bool:
        size = sum(part.size for part in self.segments)
        return size <= _MAX_CODE and all(part.address + part.size < _HIGHEST for part in self.segments)

    def _is_cheap(self, code: bytes, at: int) -> bool:
        """Whether the kernel emulates the instruction at a position; it has no prefix but the one for r8 to r15."""
        first, second = code[at], code[at + 1] if at + 1 < len(code) else 0
        if first == NOP:
            return not self.has_usdt or at == 0
        if first == CALL:
            return not _has_shadow_stacks()
        return is_emulated(first, second)


@cache
def _has_shadow_stacks() -> bool:
    """Whether programs may run with shadow stacks, on which not every kernel puts what an emulated call pushes."""
    if platform.system() != "Linux":
        return False
    try:
        return "user_shstk" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return True
