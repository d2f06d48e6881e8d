"""Where functions were inlined, as debug information says; only units that may mention a function are read for it.

A function that is inlined has an entry without addresses, and each place where it was inlined an entry that refers to it
(DWARF 5, section 3.3.8). With `-flto` those may be in different units.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import Final

import attrs

from ebpf_bot_linux.finding.damage import damage_refused
from ebpf_bot_linux.finding.debug_files import DebugFiles
from ebpf_bot_linux.finding.dwarf_units import DebugData, Function, Unit, UnitContent, read_unit, units
from ebpf_bot_linux.finding.elf import Elf
from ebpf_bot_linux.finding.files import OpenFile, open_file
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.section_data import section_data

__all__ = ["Inlined", "Inlining"]

_MAX_SECTION: Final = 64 << 20
"""Bytes of one section of debug information; larger ones are not looked into."""
_BUDGET: Final = 8 << 20
"""Bytes of units that are read of one binary, some seconds' worth. All of libc has 4 MB."""
_SEARCHED: Final = 2 << 30
"""Bytes that are searched of one binary, a second's worth, to know which units to read."""
_MAX_STRINGS: Final = 4096
"""Names that end in the one that is sought; linkers let one string end another."""
_MAX_HOPS: Final = 8
"""From an instance of a function to its declaration it is two."""
_ACROSS_UNITS: Final = b"\x31\x10"
"""DW_AT_abstract_origin with DW_FORM_ref_addr, in an abbreviation."""


@attrs.frozen
class Inlined:
    """What is known of a function that the compiler has inlined.

    Attributes:
        places: how often it was, in code that is in the binary.
        callers: the functions it was inlined into, those whose names are known, ascending.
        stands_alone: whether it has code of its own as well, under whatever symbol.
    """

    places: int
    callers: tuple[str, ...]
    stands_alone: bool


class Inlining:
    """Looks functions up in the debug information of one binary, which is read when it is first asked.

    Args:
        path: that of the binary; `identity` is its `OpenFile.identity`, lest another file answers for it.
        debug_files: find the one where it is, if the binary has none in itself.
    """

    def __init__(self, path: str, identity: tuple[int, int, int, int], debug_files: DebugFiles) -> None:
        self._path = path
        self._identity = identity
        self._debug_files = debug_files
        self._units: list[Unit] = []
        self._starts: list[int] = []
        self._read: set[int] = set()
        self._functions: dict[int, Function] = {}
        self._named: dict[bytes, list[int]] = {}
        self._instances: dict[int, list[int]] = {}
        self._inlined: dict[int, list[tuple[int, int]]] = {}
        self._budget = _BUDGET
        self._searched = _SEARCHED

    def of(self, name: str) -> Inlined | None:
        """Return what is known of a function, None if it was not inlined or nothing is known.

        Nothing is known without debug information, where it is damaged, larger than the limits above, compressed in
        another way than by zlib, or in another file still (`.dwo`, dwz).
        """
        if self._data is None or self._searched < 0:
            return None  # as for most binaries, of which a plan may name a million functions
        try:
            with damage_refused(self._path):
                return self._look_up(self._data, name.encode())
        except UnprobeableError:
            return None

    @cached_property
    def _data(self) -> DebugData | None:
        try:
            with open_file(self._path) as file, damage_refused(self._path), ExitStack() as stack:
                if file.identity != self._identity:
                    return None
                elf = Elf(file)
                data = _debug_data(file, elf)
                if data is None:
                    separate = self._debug_files.separate(stack, file, elf)
                    data = _debug_data(separate.file, separate.elf) if separate else None
                if data is not None:
                    self._units = list(units(data.info))
                    self._starts = [unit.start for unit in self._units]
                return data
        except UnprobeableError:
            return None

    def _look_up(self, data: DebugData, name: bytes) -> Inlined | None:
        if not self._read_all(data, self._mentioning(data, name)):
            return None
        family = self._family(self._named.get(name, ()))
        if family and _ACROSS_UNITS in data.abbrev:
            places = self._positions(data.info, [at.to_bytes(4, "little") for at in family])
            if not self._read_all(data, self._holding(places)):
                return None
            family = self._family(family)
        # A function that was split and put together again is inlined into itself; that hides none of its runs.
        into = [
            caller
            for origin in family
            for caller, part_of in self._inlined.get(origin, ())
            if part_of not in family and caller not in family
        ]
        # With -flto a function that was inlined is not marked as such.
        if not into and not any(self._functions[at].inlined for at in family):
            return None
        callers = sorted({self._name(at) for at in set(into)} - {""})
        alone = any(self._functions[at].has_code for at in family)
        return Inlined(len(into), tuple(callers), alone)

    def _mentioning(self, data: DebugData, name: bytes) -> list[Unit]:
        """Return the units that may hold an entry of this name."""
        if data.string_offsets:
            return self._units  # names are indexes there, which are found nowhere by searching
        sought = name + b"\0"
        self._searched -= len(data.strings) + len(data.line_strings)
        strings = [at.to_bytes(4, "little") for at in _each(data.strings, sought) if at < 1 << 32]
        lines = [at.to_bytes(4, "little") for at in _each(data.line_strings, sought)]
        return self._holding(self._positions(data.info, [*strings, *lines, sought]))

    def _positions(self, info: bytes, needles: list[bytes]) -> list[int]:
        """Return where any of some bytes are, at the beginning of a value or by chance; each is found at least once."""
        found: list[int] = []
        for needle in needles:
            if self._searched < 0:
                break
            self._searched -= len(info)
            found += _each(info, needle)
        return found

    def _holding(self, places: Iterable[int]) -> list[Unit]:
        numbers = {bisect_right(self._starts, place) - 1 for place in places}
        return [self._units[number] for number in sorted(numbers) if number >= 0]

    def _read_all(self, data: DebugData, wanted: Iterable[Unit]) -> bool:
        """Read some units, those that have not been read; False where that would take too long."""
        for unit in wanted:
            if unit.start in self._read:
                continue
            if self._budget < unit.end - unit.start:
                return False
            content, cost = read_unit(data, unit)
            self._budget -= cost
            self._read.add(unit.start)
            self._note(content)
        return self._searched >= 0

    def _note(self, content: UnitContent) -> None:
        """Keep what a unit says by what it is looked up by."""
        self._functions |= content.functions
        for at, function in content.functions.items():
            self._instances.setdefault(function.origin, []).append(at)
            for name in function.names:
                self._named.setdefault(name, []).append(at)
        for origin, caller, part_of in content.inlined:
            self._inlined.setdefault(origin, []).append((caller, part_of))

    def _family(self, members: Iterable[int]) -> set[int]:
        """Return the entries of one function: those of its name, and their instances."""
        whole = set(members)
        more = whole
        for _ in range(_MAX_HOPS):
            more = {at for origin in more for at in self._instances.get(origin, ())} - whole
            if not more:
                break
            whole |= more
        return whole

    def _name(self, at: int) -> str:
        for _ in range(_MAX_HOPS):
            function = self._functions.get(at)
            if function is None:
                return ""
            if function.names:
                name = function.names[0].decode("utf-8", "replace")
                return name if name.isprintable() else ""
            at = function.origin
        return ""


def _debug_data(file: OpenFile, elf: Elf) -> DebugData | None:
    def section(name: str) -> bytes:
        return section_data(file, elf, name, _MAX_SECTION)

    info = section(".debug_info")
    if not info:
        return None
    return DebugData(
        info,
        section(".debug_abbrev"),
        section(".debug_str"),
        section(".debug_line_str"),
        section(".debug_str_offsets"),
    )


def _each(data: bytes, needle: bytes) -> Iterator[int]:
    """Yield where `needle` is, the first `_MAX_STRINGS` times."""
    at = -1
    for _ in range(_MAX_STRINGS):
        at = data.find(needle, at + 1)
        if at < 0:
            return
        yield at
