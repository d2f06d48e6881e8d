"""Reading the functions of a binary: its own symbols and, where it is stripped, those of its debug file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.finding.chosen_sites import SiteChooser
from ebpf_bot_linux.finding.damage import damage_refused
from ebpf_bot_linux.finding.debug_files import DebugFiles, packed_symbols
from ebpf_bot_linux.finding.elf import Elf, Segment
from ebpf_bot_linux.finding.extents import Extents
from ebpf_bot_linux.finding.files import OpenFile
from ebpf_bot_linux.finding.function_table import EntryRules, FunctionTable, Stripped
from ebpf_bot_linux.finding.inlining import Inlining
from ebpf_bot_linux.finding.instructions import misrun_in, refused_in
from ebpf_bot_linux.finding.notes import USDT_NOTES
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.symbols import Symbols, SymbolSource, read_symbols

__all__ = ["DEBUG_ROOT", "FunctionReader"]

DEBUG_ROOT: Final = Path("/usr/lib/debug")
"""Where distributions install debug symbols; gdb's default too."""


class FunctionReader:
    """Reads functions; a `Read`.

    Args:
        debug_root: the directory that holds `.build-id/xx/yyyy.debug`.
    """

    def __init__(self, debug_root: Path = DEBUG_ROOT) -> None:
        self._debug_files = DebugFiles(debug_root)

    def __call__(self, file: OpenFile, elf: Elf, segments: tuple[Segment, ...]) -> FunctionTable:
        """Return the functions of a file."""
        inlining = Inlining(file.path, file.identity, self._debug_files)
        own = [(file, elf, table) for table in elf.symbol_tables()]
        if any(not table.dynamic for _, _, table in own):
            return _table(file, elf, segments, read_symbols(own), inlining=inlining)
        symbols = self._with_more(own, file, elf)
        stripped = None if symbols else Stripped(self._debug_files.expected(elf))
        return _table(file, elf, segments, symbols or read_symbols(own), inlining=inlining, stripped=stripped)

    def _with_more(self, own: Sequence[SymbolSource], file: OpenFile, elf: Elf) -> Symbols | None:
        """Return a stripped binary's own symbols and those of its debug file, which have the binary's addresses.

        None if there is no such file, as for most, or if it is damaged or not that of the binary.
        """
        for source in (self._debug_files.separate, packed_symbols):
            with ExitStack() as stack, suppress(UnprobeableError), damage_refused(file.path):
                debug = source(stack, file, elf)
                tables = debug.elf.symbol_tables() if debug else ()
                more = [(debug.file, debug.elf, table) for table in tables if debug and not table.dynamic]
                if more:
                    return read_symbols([*own, *more])
        return None


def _table(
    file: OpenFile,
    elf: Elf,
    segments: tuple[Segment, ...],
    symbols: Symbols,
    *,
    inlining: Inlining,
    stripped: Stripped | None = None,
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
    return FunctionTable.of(symbols, segments, rules, chooser, inlining=inlining, stripped=stripped)
