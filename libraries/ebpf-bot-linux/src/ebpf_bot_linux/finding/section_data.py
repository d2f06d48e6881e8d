"""The bytes of a section, decompressed where it is compressed, and never more of them than a limit."""

from __future__ import annotations

import lzma
import struct
import zlib
from typing import Final

from ebpf_bot_linux.finding.damage import ElfError
from ebpf_bot_linux.finding.elf import Elf
from ebpf_bot_linux.finding.files import OpenFile

__all__ = ["section_data", "unpacked_xz"]

_HEADERS: Final = {64: struct.Struct("<IIQQ"), 32: struct.Struct("<III")}
"""Elf64_Chdr (type, reserved, size, alignment) and Elf32_Chdr: System V gABI, chapter 4, "Section Compression"."""
_ZLIB: Final = 1
"""ELFCOMPRESS_ZLIB; the other one, Zstandard, Python does not know before 3.14."""
_XZ_MEMORY: Final = 128 << 20
"""Bytes that unpacking may take beside what it gives; `xz -9` wants 65 MiB."""


def section_data(file: OpenFile, elf: Elf, name: str, limit: int) -> bytes:
    """Return the bytes of the first section of a name, empty where there is none.

    Args:
        limit: bytes, before and after decompression.

    Raises:
        ElfError: it is larger, or compressed in an unknown way or badly.
        EOFError: it goes on past the end of the file.
    """
    section = elf.section(name)
    if section is None:
        return b""
    if section.size > limit:
        raise ElfError(f"its section {name} is larger than {limit} bytes")
    data = file.read(section.offset, section.size)
    if not section.compressed:
        return data
    header = _HEADERS[elf.bits]
    kind, *_, size, _ = header.unpack_from(data)
    if kind != _ZLIB or size > limit:
        raise ElfError(f"its section {name} is compressed in an unknown way, or too large")
    try:
        unpacked = zlib.decompressobj().decompress(data[header.size :], size or 1)
    except zlib.error as error:
        raise ElfError(f"its section {name} is compressed badly") from error
    if len(unpacked) != size:
        raise ElfError(f"its section {name} is compressed badly")
    return unpacked


def unpacked_xz(data: bytes, limit: int) -> bytes:
    """Return what an xz stream holds; ElfError where it is damaged or holds more than `limit` bytes."""
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        unpacked = unpacker.decompress(data, limit)
    except lzma.LZMAError as error:
        raise ElfError("its packed symbols are damaged") from error
    if not unpacker.eof:
        raise ElfError("its packed symbols are cut short, or too many")
    return unpacked
