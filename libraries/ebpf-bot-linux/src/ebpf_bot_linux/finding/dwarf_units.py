"""Units of DWARF: the functions that one describes, and where it says that functions were inlined.

The format is that of the DWARF 5 standard, sections 2.3, 3.3 and 7.5; versions 2 to 5 are read. All offsets are from the
beginning of `.debug_info`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import attrs

from ebpf_bot_linux.finding.damage import ElfError
from ebpf_bot_linux.finding.dwarf_abbreviations import Abbreviation, Widths, abbreviations, uleb

__all__ = ["DebugData", "Function", "Unit", "UnitContent", "read_unit", "units"]

_SUBPROGRAM, _INLINED_SUBROUTINE = 0x2E, 0x1D
_READ: Final = (_SUBPROGRAM, _INLINED_SUBROUTINE)
_NAME, _LINKAGE_NAME, _MIPS_LINKAGE_NAME = 0x03, 0x6E, 0x2007
_INLINE, _LOW_PC, _RANGES, _ENTRY_PC = 0x20, 0x11, 0x55, 0x52
_ABSTRACT_ORIGIN, _SPECIFICATION = 0x31, 0x47
_STR_OFFSETS_BASE: Final = 0x72
_CODE: Final = (_LOW_PC, _RANGES, _ENTRY_PC)
_INLINED: Final = (1, 3)
"""DW_INL_inlined, DW_INL_declared_inlined."""
_STRING, _STRP, _LINE_STRP, _IMPLICIT_CONST, _REF_ADDR = 0x08, 0x0E, 0x1F, 0x21, 0x10
_STRX: Final = (0x1A, 0x25, 0x26, 0x27, 0x28)
_UNIT_REFERENCES: Final = (0x11, 0x12, 0x13, 0x14, 0x15)
"""ref1, ref2, ref4, ref8, ref_udata: from the beginning of the unit."""
_ULEB_FORMS: Final = (0x0F, 0x15, 0x1A)
_MAX_DEPTH: Final = 4096
"""Entries within each other; compilers stay below 100."""
_MAX_NAME: Final = 4096
"""Bytes of a name; C++ templates come near it."""
_LONG: Final = 0xFFFFFFFF
"""A unit length that says that the real one follows, in 64 bits, as all offsets of the unit are."""
_VERSIONS: Final = (2, 3, 4, 5)
_TYPE_UNITS: Final = (0x02, 0x06)
_SKELETONS: Final = (0x04, 0x05)


@attrs.frozen(eq=False)
class DebugData:
    """The sections that are read."""

    info: bytes
    abbrev: bytes
    strings: bytes
    line_strings: bytes
    string_offsets: bytes


@attrs.frozen
class Unit:
    """Where a unit and its first entry are, and how wide its forms are."""

    start: int
    end: int
    entries: int
    abbreviations: int
    widths: Widths
    offset_size: int


@attrs.frozen
class Function:
    """One DW_TAG_subprogram.

    Attributes:
        names: its name and its linkage name, those that it has.
        origin: the entry that it is an instance of or completes; -1 if none.
        inlined: whether the compiler says that it has inlined it.
        has_code: whether it has addresses.
    """

    names: tuple[bytes, ...]
    origin: int
    inlined: bool
    has_code: bool


@attrs.frozen
class UnitContent:
    """What is sought in a unit.

    Attributes:
        functions: by the offsets of their entries.
        inlined: of each place with code the offset of what was inlined there, and of what it was inlined into: first
            the function that has the code, then what that part of it was inlined from, -1 if it is its own.
    """

    functions: dict[int, Function]
    inlined: list[tuple[int, int, int]]


def units(info: bytes) -> Iterator[Unit]:
    """Yield the units, in order.

    Raises:
        ElfError, struct.error: they are damaged, or of an unknown version.
    """
    at = 0
    while at + 4 < len(info):
        start = at
        (length,) = struct.unpack_from("<I", info, at)
        at += 4
        offset_size = 4
        if length == _LONG:
            (length,) = struct.unpack_from("<Q", info, at)
            at, offset_size = at + 8, 8
        end = at + length
        (version,) = struct.unpack_from("<H", info, at)
        if version not in _VERSIONS or end > len(info) or not length:
            raise ElfError("its debug information is damaged, or of an unknown version")
        word = "<Q" if offset_size > 4 else "<I"  # noqa: PLR2004
        at += 2
        if version >= 5:  # noqa: PLR2004
            kind, address_size = info[at], info[at + 1]
            (table,) = struct.unpack_from(word, info, at + 2)
            at += 2 + offset_size
            at += 8 + offset_size if kind in _TYPE_UNITS else 8 if kind in _SKELETONS else 0
        else:
            (table,) = struct.unpack_from(word, info, at)
            address_size = info[at + offset_size]
            at += offset_size + 1
        yield Unit(start, end, at, table, Widths.of(version, address_size, offset_size), offset_size)
        at = end


def read_unit(data: DebugData, unit: Unit) -> tuple[UnitContent, int]:
    """Return what is sought in a unit, and how many bytes were read for it.

    Raises:
        ElfError, LookupError, ValueError: it is damaged.
    """
    table, table_end = abbreviations(data.abbrev, unit.abbreviations, unit.widths)
    reader = _Reader(data, unit)
    info, at = data.info, unit.entries
    within: list[tuple[int, int]] = []
    current = (-1, -1)
    while at < unit.end:
        entry = at
        number, at = uleb(info, at)
        if not number:
            current = within.pop() if within else (-1, -1)
            continue
        kind = table[number]
        inside = current
        if within and kind.tag not in _READ:
            at = reader.skipped(kind, at)
        else:
            at, inside = reader.read(kind, entry, at, current)
        if kind.children:
            if len(within) > _MAX_DEPTH:
                raise ElfError("the entries of its debug information are too deep within each other")
            within.append(current)
            current = inside
    return reader.content, unit.end - unit.start + table_end - unit.abbreviations


class _Reader:
    """Reads the entries of one unit.

    Attributes:
        content: what has been found.
    """

    def __init__(self, data: DebugData, unit: Unit) -> None:
        self.content = UnitContent({}, [])
        self._data = data
        self._unit = unit
        self._string_offsets_base = (
            2 * unit.offset_size
        )  # behind the header, where the unit names no other place

    def skipped(self, kind: Abbreviation, at: int) -> int:
        """Return where an entry ends whose attributes begin at `at`."""
        if kind.width >= 0:
            return at + kind.width
        info, after = self._data.info, self._unit.widths.after
        for _, form, _ in kind.attributes:
            at = after(info, at, form)
        return at

    def read(
        self, kind: Abbreviation, entry: int, at: int, within: tuple[int, int]
    ) -> tuple[int, tuple[int, int]]:
        """Take in the entry at `entry`, whose attributes begin at `at`.

        Args:
            within: the function that it is in, and what that part was inlined from, as in `UnitContent.inlined`.

        Returns:
            Where the entry ends, and what the entries in it are within.
        """
        values, end = self.values(kind, at)
        if kind.tag == _SUBPROGRAM:
            self.content.functions[entry] = self.function(values)
            return end, (entry, -1)
        if kind.tag == _INLINED_SUBROUTINE:
            origin = self.reference(values.get(_ABSTRACT_ORIGIN))
            if any(name in values for name in _CODE):
                self.content.inlined.append((origin, *within))
            return end, (within[0], origin)
        if _STR_OFFSETS_BASE in values:
            self._string_offsets_base = values[_STR_OFFSETS_BASE][1]
        return end, within

    def values(self, kind: Abbreviation, at: int) -> tuple[dict[int, tuple[int, int]], int]:
        """Return {attribute: (form, number)} of an entry, and its end; of a string in place, where it is."""
        info, widths = self._data.info, self._unit.widths
        values: dict[int, tuple[int, int]] = {}
        for name, form, implicit in kind.attributes:
            after = widths.after(info, at, form)
            if form == _IMPLICIT_CONST:
                value = implicit
            elif form == _STRING:
                value = at
            elif form in _ULEB_FORMS:
                value = uleb(info, at)[0]
            else:
                value = int.from_bytes(info[at : min(after, at + 8)], "little")
            values[name] = (form, value)
            at = after
        return values, at

    def function(self, values: dict[int, tuple[int, int]]) -> Function:
        """Return the function that an entry describes."""
        names = (self._text(values.get(name)) for name in (_NAME, _LINKAGE_NAME, _MIPS_LINKAGE_NAME))
        origin = values.get(_ABSTRACT_ORIGIN) or values.get(_SPECIFICATION)
        return Function(
            tuple(name for name in names if name),
            self.reference(origin),
            values.get(_INLINE, (0, 0))[1] in _INLINED,
            any(name in values for name in _CODE),
        )

    def reference(self, value: tuple[int, int] | None) -> int:
        """Return the offset of the entry that is referred to, -1 if it is in no unit of this file."""
        if value is None:
            return -1
        form, number = value
        if form in _UNIT_REFERENCES:
            return self._unit.start + number
        return number if form == _REF_ADDR else -1

    def _text(self, value: tuple[int, int] | None) -> bytes:
        if value is None:
            return b""
        form, number = value
        data = self._data
        if form in _STRX:
            size = self._unit.offset_size
            at = self._string_offsets_base + number * size
            number = int.from_bytes(data.string_offsets[at : at + size], "little")
            form = _STRP
        source = {_STRING: data.info, _STRP: data.strings, _LINE_STRP: data.line_strings}.get(form)
        if source is None:
            return b""
        end = source.find(b"\0", number, number + _MAX_NAME)
        return source[number:end] if end >= 0 else b""
