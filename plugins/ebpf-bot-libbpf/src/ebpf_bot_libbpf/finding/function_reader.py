"""Reading the functions of a binary: its own symbols and, where it is stripped, those of its debug file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_libbpf.finding.chosen_sites import SiteChooser
from ebpf_bot_libbpf.finding.damage import damage_refused
from ebpf_bot_libbpf.finding.elf import Elf, Segment
from ebpf_bot_libbpf.finding.extents import Extents
from ebpf_bot_libbpf.finding.files import OpenFile, open_file
from ebpf_bot_libbpf.finding.function_table import EntryRules, FunctionTable
from ebpf_bot_libbpf.finding.instructions import misrun_in, refused_in
from ebpf_bot_libbpf.finding.notes import USDT_NOTES
from ebpf_bot_libbpf.finding.refusals import UnprobeableError
from ebpf_bot_libbpf.finding.symbols import Symbols, SymbolSource, read_symbols

__all__ = ["DEBUG_ROOT", "FunctionReader"]

DEBUG_ROOT: Final = Path("/usr/lib/debug")
"""Where distributions install debug symbols; gdb's default too."""


class FunctionReader:
    """Reads functions; a `Read`.

    Args:
        debug_root: the directory that holds `.build-id/xx/yyyy.debug`.
    """

    def __init__(self, debug_root: Path = DEBUG_ROOT) -> None:
        self._debug_root = debug_root

    def __call__(self, file: OpenFile, elf: Elf, segments: tuple[Segment, ...]) -> FunctionTable:
        """Return the functions of a file."""
        own = [(file, elf, table) for table in elf.symbol_tables()]
        build_id = "" if any(not table.dynamic for _, _, table in own) else elf.build_id()
        if not build_id:
            return _table(file, elf, segments, read_symbols(own))
        debug_path = f"{self._debug_root}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
        symbols = _with_debug_file(own, debug_path, build_id) or read_symbols(own)
        return _table(file, elf, segments, symbols, debug_path)


def _table(
    file: OpenFile, elf: Elf, segments: tuple[Segment, ...], symbols: Symbols, debug_path: str = ""
) -> FunctionTable:
    chooser = SiteChooser(
        tuple(segment for segment in segments if segment.executable),
        Extents.of(symbols),
        can_choose=elf.machine == "EM_X86_64" and elf.bits == 64,  # noqa: PLR2004
        has_usdt=elf.section(USDT_NOTES) is not None,
    )
    refused, misrun = refused_in(file, elf.machine), misrun_in(file, elf.machine)

    def can_probe(offsets: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return ~(refused(offsets) | misrun(offsets))

    rules = EntryRules(refused, misrun, lambda entries: chooser.rescue(file, entries, can_probe))
    return FunctionTable.of(symbols, segments, rules, chooser, debug_path)


def _with_debug_file(own: Sequence[SymbolSource], path: str, build_id: str) -> Symbols | None:
    """Return a stripped binary's own symbols and those of its debug file, which have the binary's addresses.

    None if there is no such file, as for most, or if it is damaged or not that of the binary.
    """
    try:
        with open_file(path) as file, damage_refused(path):
            elf = Elf(file)
            if elf.build_id() != build_id:
                return None
            more = [(file, elf, table) for table in elf.symbol_tables() if not table.dynamic]
            return read_symbols([*own, *more])
    except UnprobeableError:
        return None
