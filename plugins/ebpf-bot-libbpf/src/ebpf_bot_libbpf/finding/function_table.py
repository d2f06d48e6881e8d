"""The functions of one binary by name: where each can be probed, and why some of its symbols cannot."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_libbpf.finding.elf import Segment, file_offsets
from ebpf_bot_libbpf.finding.standings import Standing
from ebpf_bot_libbpf.finding.symbols import STT_FUNC, STT_GNU_IFUNC, Symbols

__all__ = ["FunctionTable"]


@attrs.frozen(eq=False)
class FunctionTable:
    """The named symbols of a binary, in columns.

    Attributes:
        names: each name once, ascending.
        standing: `Standing` of each name, uint8, shape (len(names),).
        starts: shape (len(names) + 1,): name i has the offsets `starts[i]` to `starts[i + 1]`.
        offsets: file offsets inside executable segments, uint64; for each name ascending and each once. Only those
            that uprobes accept, so that one bad copy of a function does not spoil the others.
        unnameable: how many functions have a name that no probe name can spell.
        debug_path: the separate debug file that would be used for the binary, empty if its own symbols are complete
            or it has no build-id.
    """

    names: tuple[str, ...]
    standing: NDArray[np.uint8]
    starts: NDArray[np.intp]
    offsets: NDArray[np.uint64]
    unnameable: int
    debug_path: str
    _rows: dict[str, int] = attrs.field(init=False, repr=False)

    @_rows.default
    def _number(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    @classmethod
    def of(
        cls,
        symbols: Symbols,
        segments: tuple[Segment, ...],
        refused: Callable[[NDArray[np.uint64]], NDArray[np.bool_]],
        debug_path: str = "",
    ) -> FunctionTable:
        """Sort the symbols of a binary by what can be done with them.

        Args:
            segments: all PT_LOAD segments; a symbol's file offset is st_value - p_vaddr + p_offset of the executable
                one that holds its address.
            refused: says of ascending file offsets whether uprobes refuse the instruction there.
        """
        order = sorted(range(len(symbols.names)), key=symbols.names.__getitem__)
        rank = np.empty(len(order), np.intp)
        rank[order] = np.arange(len(order))
        name = rank[symbols.name]
        offset, inside = file_offsets(symbols.address, [s for s in segments if s.executable])

        kind = np.full(len(name), Standing.DATA, np.uint8)
        function = np.isin(symbols.type, (STT_FUNC, STT_GNU_IFUNC))
        kind[function & ~symbols.defined] = Standing.IMPORT
        kind[function & symbols.defined] = Standing.ASTRAY
        code = function & symbols.defined & inside
        kind[code] = np.where(symbols.type[code] == STT_FUNC, Standing.CODE, Standing.RESOLVER)
        places, place = np.unique(offset[code], return_inverse=True)
        kind[np.flatnonzero(code)[refused(places)[place]]] = Standing.BLIND

        standing = np.zeros(len(order), np.uint8)
        np.maximum.at(standing, name, kind)
        good = kind > Standing.BLIND
        owner, offsets = _each_once(name[good], offset[good])
        counts = np.bincount(owner, minlength=len(order))
        return cls(
            names=tuple(symbols.names[i] for i in order),
            standing=standing,
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
            offsets=offsets,
            unnameable=symbols.unnameable,
            debug_path=debug_path,
        )

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def row(self, name: str) -> int:
        """Return the row of `name`; KeyError if no symbol has it."""
        return self._rows[name]

    @property
    def unseen(self) -> str:
        """What is missing to see the functions, and where it would be, if none can be seen."""
        if self.count:
            return ""
        debug = f"; a debug file would be {self.debug_path}" if self.debug_path else ""
        return f"no symbol of a function of its own{debug}"

    def offsets_of(self, name: str) -> tuple[int, ...]:
        """Return where `name` can be probed, ascending; empty if nowhere."""
        row = self._rows.get(name)
        if row is None:
            return ()
        return tuple(self.offsets[self.starts[row] : self.starts[row + 1]].tolist())

    @property
    def count(self) -> int:
        """How many names are those of functions defined here."""
        return int((self.standing >= Standing.ASTRAY).sum())


def _each_once(
    names: NDArray[np.intp], offsets: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """Return the pairs of name and offset, each once, ascending by name and then by offset."""
    order = np.lexsort((offsets, names))
    names, offsets = names[order], offsets[order]
    new = np.ones(len(names), np.bool_)
    new[1:] = (names[1:] != names[:-1]) | (offsets[1:] != offsets[:-1])
    return names[new], offsets[new]
