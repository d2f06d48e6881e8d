"""The functions of one binary by name: where each can be probed, and why some of its symbols cannot."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind
from ebpf_bot_linux.finding.chosen_sites import SiteChooser
from ebpf_bot_linux.finding.copies import Family, without
from ebpf_bot_linux.finding.elf import Segment, file_offsets
from ebpf_bot_linux.finding.inlining import Inlining
from ebpf_bot_linux.finding.made_families import made_families, with_aliases
from ebpf_bot_linux.finding.standings import HOPELESS, WHOLE, Standing
from ebpf_bot_linux.finding.symbols import STT_FUNC, STT_GNU_IFUNC, Symbols

__all__ = ["EntryRules", "FunctionTable", "Stripped"]


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


@attrs.frozen
class Stripped:
    """The state of a binary that has lost the names of functions that it does not export.

    Attributes:
        debug_path: where a debug file with them would be found, empty if the binary has no build-id.
    """

    debug_path: str


@attrs.frozen(eq=False)
class FunctionTable:
    """The named symbols of a binary, in columns.

    Attributes:
        names: each name once, ascending.
        standing: `Standing` of each name for uprobes, uint8, shape (len(names),).
        entry_standing: likewise for what can only be placed at entries.
        starts: shape (len(names) + 1,): name i has the offsets `starts[i]` to `starts[i + 1]`.
        offsets: file offsets inside executable segments, uint64; for each name ascending and each once. Only those
            that uprobes accept, or for which they accept another, so that one bad copy does not spoil the others.
        behind: how far behind each offset a uprobe must be placed; 0 where it can be placed there.
        chooser: says where a function that can be probed at its entry is best probed.
        unnameable: how many functions have a name that no probe name can spell.
        families: by the name of a function that may have no symbol itself, what the compiler has made of it.
        unseen_calls: by name, at how many of its places and those of its copies uprobes cannot be. Of those that have
            others as well: with 0 hits they may have been called all the same.
        unseen_returns: likewise for what can only be placed at entries.
        inlining: tells where functions were inlined.
        stripped: what is missing, where only the names of what is exported are there; else None.
    """

    names: tuple[str, ...]
    standing: NDArray[np.uint8]
    entry_standing: NDArray[np.uint8]
    starts: NDArray[np.intp]
    offsets: NDArray[np.uint64]
    behind: NDArray[np.uint64]
    chooser: SiteChooser
    unnameable: int
    families: Mapping[str, Family]
    unseen_calls: Mapping[str, int]
    unseen_returns: Mapping[str, int]
    inlining: Inlining
    stripped: Stripped | None

    @classmethod
    def of(
        cls,
        symbols: Symbols,
        segments: tuple[Segment, ...],
        rules: EntryRules,
        chooser: SiteChooser,
        *,
        inlining: Inlining,
        stripped: Stripped | None = None,
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

        names = tuple(symbols.names[i] for i in order)
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
        entry_kind = kind.copy()
        moved = np.zeros(len(places), np.uint64)
        bad = refused | misrun
        moved[bad] = rules.rescued(places[bad]) - places[bad]
        of_function = symbols.type[code] == STT_FUNC
        kind[code[(moved[place] > 0) & of_function]] = Standing.BEHIND
        behind = np.zeros(len(kind), np.uint64)
        behind[code] = moved[place]

        standing = np.zeros(len(order), np.uint8)
        np.maximum.at(standing, name, kind)
        made, cold = made_families(names, standing)
        kind[np.isin(kind, WHOLE) & cold[name]] = Standing.SPLIT
        standing[cold & np.isin(standing, WHOLE)] = Standing.SPLIT
        entry_kind[kind == Standing.SPLIT] = Standing.SPLIT
        entry_standing = np.zeros(len(order), np.uint8)
        np.maximum.at(entry_standing, name, entry_kind)
        unseen = [_unseen(names, name, offset, np.isin(each, HOPELESS), made) for each in (kind, entry_kind)]
        made = without(made, {names[i] for i in np.flatnonzero(np.isin(standing, HOPELESS)).tolist()})
        good = np.flatnonzero((kind == Standing.CODE) | (kind == Standing.BEHIND))
        owner, kept = _each_once(name[good], offset[good])
        counts = np.bincount(owner, minlength=len(order))
        versioned = [i for i in np.flatnonzero(standing == Standing.RESOLVER).tolist() if names[i] in made]
        standing[versioned] = Standing.CODE
        entry_standing[versioned] = Standing.CODE
        return cls(
            names=names,
            standing=standing,
            entry_standing=entry_standing,
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
            offsets=offset[good][kept],
            behind=behind[good][kept],
            chooser=chooser,
            unnameable=symbols.unnameable,
            families=with_aliases(made, names, owner, offset[good][kept]),
            unseen_calls=unseen[0],
            unseen_returns=unseen[1],
            inlining=inlining,
            stripped=stripped,
        )

    def __contains__(self, name: str) -> bool:
        return self._place(name) >= 0

    def rows(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return the row of each of some names, -1 for those that no symbol has."""
        return np.fromiter(map(self._place, names), np.intp, len(names))

    def row(self, name: str) -> int:
        """Return the row of `name`; KeyError if no symbol has it."""
        row = self._place(name)
        if row < 0:
            raise KeyError(name)
        return row

    def _place(self, name: str) -> int:
        """Return the row of `name`, -1 if no symbol has it; a dict of a million names would take 100 MiB."""
        row = bisect_left(self.names, name)
        return row if row < len(self.names) and self.names[row] == name else -1

    @cached_property
    def unseen(self) -> str:
        """What the file has instead of the names of all its functions, and where those would be; empty if it has all."""
        debug = ""
        if self.stripped is not None and self.stripped.debug_path:
            debug = f"; a debug file would be {self.stripped.debug_path}"
        if not self.count:
            return f"no symbol of a function of its own{debug}"
        return (
            f"no names but those of the {self.count} functions that it exports{debug}"
            if self.stripped
            else ""
        )

    def standings(self, kind: ProbeKind) -> NDArray[np.uint8]:
        """Return the `Standing` of each name for probes of one kind, shape (len(names),)."""
        return self.entry_standing if kind is ProbeKind.URETPROBE else self.standing

    def entries(self, names: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return which of `offsets` are those of some names, and how many each name has, shape (len(names),).

        Those of a name stand together, in the order of the names, ascending by offset and each offset once.
        """
        rows = self.rows(names)
        first, end = self.starts[rows], self.starts[rows + 1]
        count = np.where(rows < 0, 0, end - first)
        made = enumerate(names) if self.families else ()
        places = {number: self._places_of(name) for number, name in made if name in self.families}
        count[list(places)] = 0
        owners = [np.repeat(np.arange(len(rows)), count)]
        within = np.arange(len(owners[0])) - np.repeat(np.cumsum(count) - count, count)
        found = [np.repeat(first, count) + within]
        for number, listed in places.items():
            count[number] = len(listed)
            owners.append(np.full(len(listed), number))
            found.append(np.array(listed, np.intp))
        order = np.argsort(np.concatenate(owners), kind="stable")
        return np.concatenate(found)[order], count

    def _places_of(self, name: str) -> list[int]:
        """Return which of `offsets` are those of a name of which the compiler has made something.

        A call of one of its copies is a call of the function, so their places are its own. Its parts, which it calls
        itself, stand for it only where there is nothing else.
        """
        family = self.families[name]
        return self._places(name, *family.copies) or self._places(*family.parts)

    def offset_count(self, name: str) -> int:
        """Return at how many places the symbols of exactly this name can be probed."""
        row = self.row(name)
        return int(self.starts[row + 1] - self.starts[row])

    def _places(self, *names: str) -> list[int]:
        rows = [row for row in map(self._place, names) if row >= 0]
        positions = [np.arange(self.starts[row], self.starts[row + 1]) for row in rows]
        found = np.concatenate([np.zeros(0, np.intp), *positions])
        _, first = np.unique(self.offsets[found], return_index=True)
        places: list[int] = found[first].tolist()
        return places

    @cached_property
    def count(self) -> int:
        """How many names are those of functions defined here."""
        return int((self.standing >= Standing.ASTRAY).sum())


def _unseen(
    names: Sequence[str],
    name: NDArray[np.intp],
    offset: NDArray[np.uint64],
    hopeless: NDArray[np.bool_],
    made: Mapping[str, Family],
) -> Mapping[str, int]:
    """Return by name at how many places of a function and its copies nothing can be; only those with such places."""
    owner, _ = _each_once(name[hopeless], offset[hopeless])
    rows, counts = np.unique(owner, return_counts=True)
    own = {names[row]: count for row, count in zip(rows.tolist(), counts.tolist(), strict=True)}
    if not own:
        return own
    of_copies = {base: sum(own.get(copy, 0) for copy in family.copies) for base, family in made.items()}
    return own | {base: count + own.get(base, 0) for base, count in of_copies.items() if count}


def _each_once(
    names: NDArray[np.intp], offsets: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the names of the pairs of name and offset, each pair once, ascending by both, and where they stand."""
    order = np.lexsort((offsets, names))
    names, offsets = names[order], offsets[order]
    new = np.ones(len(names), np.bool_)
    new[1:] = (names[1:] != names[:-1]) | (offsets[1:] != offsets[:-1])
    return names[new], order[new]
