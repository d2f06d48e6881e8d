"""Abbreviations of DWARF: what an entry of debug information consists of, and how wide each of its attributes is.

The numbers are those of the DWARF 5 standard, chapter 7, and of the GNU extensions that GCC 4 to 14 and dwz write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ebpf_bot_linux.finding.damage import ElfError

__all__ = ["Abbreviation", "Attribute", "Widths", "abbreviations", "signed_leb", "uleb"]

_BLOCK1, _BLOCK2, _BLOCK4, _BLOCK, _EXPRLOC = 0x0A, 0x03, 0x04, 0x09, 0x18
_STRING, _SDATA, _INDIRECT, _IMPLICIT_CONST = 0x08, 0x0D, 0x16, 0x21
_ULEB: Final = frozenset((0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02))
"""udata, ref_udata, strx, addrx, loclistx, rnglistx, GNU_addr_index, GNU_str_index."""
_FIXED: Final = {
    **dict.fromkeys((0x0B, 0x0C, 0x11, 0x25, 0x29), 1),  # data1, flag, ref1, strx1, addrx1
    **dict.fromkeys((0x05, 0x12, 0x26, 0x2A), 2),  # data2, ref2, strx2, addrx2
    **dict.fromkeys((0x27, 0x2B), 3),  # strx3, addrx3
    **dict.fromkeys((0x06, 0x13, 0x28, 0x2C, 0x1C), 4),  # data4, ref4, strx4, addrx4, ref_sup4
    **dict.fromkeys((0x07, 0x14, 0x20, 0x24), 8),  # data8, ref8, ref_sig8, ref_sup8
    0x1E: 16,  # data16
    0x19: 0,  # flag_present
    _IMPLICIT_CONST: 0,
}
_OFFSETS: Final = (0x0E, 0x17, 0x1D, 0x1F, 0x1F20, 0x1F21)
"""strp, sec_offset, strp_sup, line_strp, GNU_ref_alt, GNU_strp_alt: as wide as offsets are in the unit."""
_ADDR, _REF_ADDR = 0x01, 0x10
_BLOCK_LENGTH: Final = {_BLOCK1: 1, _BLOCK2: 2, _BLOCK4: 4}
_MAX_LEB: Final = 10
"""Bytes of a 64-bit number."""

Attribute = tuple[int, int, int]
"""Name, form, and the value of DW_FORM_implicit_const."""


@attrs.frozen
class Widths:
    """How wide the forms are in units of one kind.

    Attributes:
        fixed: form -> bytes, of the forms that always take as many.
    """

    fixed: Mapping[int, int]

    @classmethod
    def of(cls, version: int, address_size: int, offset_size: int) -> Widths:
        """Return those of a version of DWARF; before 3 a reference to another unit is as wide as an address."""
        wide = dict.fromkeys(_OFFSETS, offset_size)
        reference = address_size if version < 3 else offset_size  # noqa: PLR2004
        return cls({**_FIXED, **wide, _ADDR: address_size, _REF_ADDR: reference})

    def after(self, data: bytes, at: int, form: int) -> int:
        """Return where a value of `form` that is at `at` ends.

        Raises:
            ElfError: there is no such form.
            IndexError, ValueError: `data` ends before.
        """
        width = self.fixed.get(form)
        if width is not None:
            return at + width
        if form in _ULEB or form == _SDATA:
            return uleb(data, at)[1]
        if form in (_EXPRLOC, _BLOCK):
            size, at = uleb(data, at)
            return at + size
        if form == _STRING:
            return data.index(b"\0", at) + 1
        if form in _BLOCK_LENGTH:
            length = _BLOCK_LENGTH[form]
            return at + length + int.from_bytes(data[at : at + length], "little")
        if form == _INDIRECT:
            actual, at = uleb(data, at)
            if actual != _INDIRECT:
                return self.after(data, at, actual)
        raise ElfError(f"its debug information has an unknown form {form:#x}")


@attrs.frozen
class Abbreviation:
    """One kind of entry.

    Attributes:
        tag: DW_TAG_*.
        children: whether entries within it follow.
        width: bytes of the entry behind its number, -1 if that differs.
    """

    tag: int
    children: bool
    attributes: Sequence[Attribute]
    width: int


def abbreviations(data: bytes, at: int, widths: Widths) -> tuple[dict[int, Abbreviation], int]:
    """Return a table of `.debug_abbrev` by the numbers of its entries, and where it ends.

    Raises:
        IndexError: it goes on past the end.
    """
    table: dict[int, Abbreviation] = {}
    while True:
        number, at = uleb(data, at)
        if not number:
            return table, at
        tag, at = uleb(data, at)
        children = bool(data[at])
        at += 1
        attributes = []
        while True:
            name, at = uleb(data, at)
            form, at = uleb(data, at)
            implicit = 0
            if form == _IMPLICIT_CONST:
                implicit, at = signed_leb(data, at)
            if not name and not form:
                break
            attributes.append((name, form, implicit))
        sizes = [widths.fixed.get(form, -1) for _, form, _ in attributes]
        table[number] = Abbreviation(tag, children, attributes, -1 if -1 in sizes else sum(sizes))


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number and where it ends."""
    byte = data[at]
    if byte < 0x80:  # noqa: PLR2004 - nearly all
        return byte, at + 1
    value = 0
    for i in range(_MAX_LEB):
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:  # noqa: PLR2004
            return value, at + i + 1
    raise ElfError("its debug information has a number without an end")


def signed_leb(data: bytes, at: int) -> tuple[int, int]:
    """Return a signed LEB128 number and where it ends."""
    value, end = uleb(data, at)
    bits = 7 * (end - at)
    return value - (1 << bits) if value >> (bits - 1) & 1 else value, end
