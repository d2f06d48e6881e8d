"""The functions of one binary by name: where each can be probed, and why some of its symbols cannot."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind
from ebpf_bot_libbpf.finding.chosen_sites import SiteChooser
from ebpf_bot_libbpf.finding.elf import Segment, file_offsets
from ebpf_bot_libbpf.finding.standings import Standing
from ebpf_bot_libbpf.finding.symbols import STT_FUNC, STT_GNU_IFUNC, Symbols

__all__ = ["EntryRules", "FunctionTable"]

Judge = Callable[[NDArray[np.uint64]], NDArray[np.bool_]]
"""Says something of ascending file offsets, each."""


@attrs.frozen
class EntryRules:
    """What uprobes can do with the instructions of one file.

    Attributes:
        refused: where they refuse the instruction.
        misrun: where they would run it wrongly.
        rescued: of functions that cannot be probed at their entries, the places behind them that can be; the entries
            where there are none.
    """

    refused: Judge
    misrun: Judge
    rescued: Callable[[NDArray[np.uint64]], NDArray[np.uint64]]


@attrs.frozen(eq=False)
class FunctionTable:
    """The named symbols of a binary, in columns.

    Attributes:
        names: each name once, ascending.
        standing: `Standing` of each name for uprobes, uint8, shape (len(names),).
        entry_standing: likewise for what can only be placed at entries.
        starts: shape (len(names) + 1,): name i has the offsets `starts[i]` to `starts[i + 1]`.
        offsets: file offsets inside executable segments, uint64; for each name ascending and each once. Only those
            that uprobes accept, or for which they accept another, so that one bad copy of a function does not spoil the others.
        behind: how far behind each offset a uprobe must be placed; 0 where it can be placed there.
        chooser: says where a function that can be probed at its entry is best probed.
        unnameable: how many functions have a name that no probe name can spell.
        debug_path: the separate debug file that would be used for the binary, empty if its own symbols are complete
            or it has no build-id.
    """

    names: tuple[str, ...]
    standing: NDArray[np.uint8]
    entry_standing: NDArray[np.uint8]
    starts: NDArray[np.intp]
    offsets: NDArray[np.uint64]
    behind: NDArray[np.uint64]
    chooser: SiteChooser
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
        rules: EntryRules,
        chooser: SiteChooser,
        debug_path: str = "",
    ) -> FunctionTable:
        """Sort the symbols of a binary by what can be done with them.

        Args:
            segments: all PT_LOAD segments; a symbol's file offset is st_value - p_vaddr + p_offset of the executable
                one that holds its address.
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
        code = np.flatnonzero(function & symbols.defined & inside)
        kind[code] = np.where(symbols.type[code] == STT_FUNC, Standing.CODE, Standing.RESOLVER)
        places, place = np.unique(offset[code], return_inverse=True)
        refused, misrun = rules.refused(places), rules.misrun(places)
        kind[code[misrun[place]]] = Standing.HARMED
        kind[code[refused[place]]] = Standing.BLIND
        entry_standing = _best(name, kind, len(order))
        moved = np.zeros(len(places), np.uint64)
        bad = refused | misrun
        moved[bad] = rules.rescued(places[bad]) - places[bad]
        kind[code[moved[place] > 0]] = Standing.BEHIND

        good = np.flatnonzero(kind >= Standing.BEHIND)
        behind = np.zeros(len(kind), np.uint64)
        behind[code] = moved[place]
        owner, kept = _each_once(name[good], offset[good])
        counts = np.bincount(owner, minlength=len(order))
        return cls(
            names=tuple(symbols.names[i] for i in order),
            standing=_best(name, kind, len(order)),
            entry_standing=entry_standing,
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
            offsets=offset[good][kept],
            behind=behind[good][kept],
            chooser=chooser,
            unnameable=symbols.unnameable,
            debug_path=debug_path,
        )

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def row(self, name: str) -> int:
        """Return the row of `name`; KeyError if no symbol has it."""
        return self._rows[name]

    def standings(self, kind: ProbeKind) -> NDArray[np.uint8]:
        """Return the `Standing` of each name for probes of one kind, shape (len(names),)."""
        return self.entry_standing if kind is ProbeKind.URETPROBE else self.standing

    @property
    def unseen(self) -> str:
        """What is missing to see the functions, and where it would be, if none can be seen."""
        if self.count:
            return ""
        debug = f"; a debug file would be {self.debug_path}" if self.debug_path else ""
        return f"no symbol of a function of its own{debug}"

    def entries(self, name: str) -> slice:
        """Return which of `offsets` are those of `name`."""
        row = self._rows.get(name)
        return slice(0, 0) if row is None else slice(int(self.starts[row]), int(self.starts[row + 1]))

    @property
    def count(self) -> int:
        """How many names are those of functions defined here."""
        return int((self.standing >= Standing.ASTRAY).sum())


def _best(name: NDArray[np.intp], kind: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the highest standing of each name."""
    best = np.zeros(size, np.uint8)
    np.maximum.at(best, name, kind)
    return best


def _each_once(
    names: NDArray[np.intp], offsets: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the names of the pairs of name and offset, each pair once, ascending by both, and where they stand."""
    order = np.lexsort((offsets, names))
    names, offsets = names[order], offsets[order]
    new = np.ones(len(names), np.bool_)
    new[1:] = (names[1:] != names[:-1]) | (offsets[1:] != offsets[:-1])
    return names[new], order[new]
