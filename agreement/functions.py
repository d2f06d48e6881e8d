"""Which functions are in a binary: as code of their own under one or more symbols, and as inlined copies."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

__all__ = ["Functions", "read_functions"]

_SYMBOL: Final = re.compile(r"^[0-9a-f]+ [tTwW] (\S+)$", re.MULTILINE)
_PIECE: Final = re.compile(r"\.(part|cold)(\.|$)")
"""A symbol of a part of a function, which is jumped to or called from within it: no entry of its own."""

_MOST_STEPS: Final = 4
"""From an inlined copy to the entry that has its name."""


@attrs.frozen
class Functions:
    """The functions of a binary by their name in the source.

    Attributes:
        symbols: function -> its symbols: its own, and those of clones such as `f.constprop.0`.
        inlined: functions of which there are inlined copies.
    """

    symbols: Mapping[str, tuple[str, ...]]
    inlined: frozenset[str]

    def fired(self, function: str, hits: Mapping[str, int]) -> bool:
        """Say whether any piece of a function ran as code of its own."""
        return any(hits.get(name) for name in (function, *self.symbols[function]))

    def entered(self, function: str, hits: Mapping[str, int]) -> int:
        """Return how often it was entered, which for ebpf-bot includes by its clones."""
        if function in hits:
            return hits[function]
        return sum(hits.get(symbol, 0) for symbol in self.symbols[function] if not _PIECE.search(symbol))


def read_functions(binary: Path, sources: Iterable[str]) -> Functions:
    """Read the functions of a binary that has symbols and DWARF.

    nm(1) names them, not ebpf-bot: what is compared must not say what there is to compare.

    Args:
        sources: the names of the functions that were compiled; what else is linked in is left out.
    """
    names = set(sources)
    listed = subprocess.run(["nm", binary], capture_output=True, text=True, check=True).stdout
    symbols: dict[str, tuple[str, ...]] = {}
    for symbol in dict.fromkeys(_SYMBOL.findall(listed)):
        function = symbol.partition(".")[0]
        if function in names:
            symbols[function] = (*symbols.get(function, ()), symbol)
    return Functions(symbols, frozenset(_inlined(binary)))


def _inlined(binary: Path) -> set[str]:
    """Return the names of the functions that have inlined copies: DWARF 5, section 3.3.8.2."""
    origins: dict[int, DIE] = {}
    with binary.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for entry in unit.iter_DIEs():
                if entry.tag == "DW_TAG_inlined_subroutine":
                    origin = entry.get_DIE_from_attribute("DW_AT_abstract_origin")
                    origins[origin.offset] = origin
        return {name for origin in origins.values() if (name := _name(origin))}


def _name(entry: DIE) -> str:
    """Return the name of an entry; one that was optimised while linking has it in another."""
    for _ in range(_MOST_STEPS):
        if "DW_AT_name" in entry.attributes:
            return str(entry.attributes["DW_AT_name"].value.decode())
        if "DW_AT_abstract_origin" not in entry.attributes:
            break
        entry = entry.get_DIE_from_attribute("DW_AT_abstract_origin")
    return ""
