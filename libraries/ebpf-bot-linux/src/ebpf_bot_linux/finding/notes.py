"""Notes, the records of ELF files that tools leave each other: System V gABI, chapter 5, "Note Section"."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["USDT_NOTES", "notes"]

USDT_NOTES: Final = ".note.stapsdt"
"""The section where the macros of sys/sdt.h note the probes that they leave."""


def notes(data: bytes, *, little_endian: bool) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield name, type and descriptor of each note; both parts are padded to 4 bytes.

    Sizes that go on past the end of `data` cost nothing: what is there of such a note is yielded, and it is the last.
    """
    header, at = struct.Struct("<III" if little_endian else ">III"), 0
    while at + header.size <= len(data):
        name_size, size, kind = header.unpack_from(data, at)
        name = at + header.size
        value = name + (name_size + 3) // 4 * 4
        yield data[name : name + name_size], kind, data[value : value + size]
        at = value + (size + 3) // 4 * 4
