"""The headers of an ELF file: what it is for, which parts of it are executed, where its symbols are.

The format is that of elf(5) and the System V gABI, chapters 4 and 5; pyelftools knows its structures. Files may be
damaged or hostile and this process may be privileged, so each table is read as a whole, after its size was compared
with the file's and with a limit, and pyelftools only ever sees those bytes: it cannot seek, loop or allocate beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
import numpy as np
from elftools.construct import Struct
from elftools.elf.structs import ELFStructs
from numpy.typing import NDArray

from ebpf_bot_linux.finding.damage import ElfError
from ebpf_bot_linux.finding.files import OpenFile
from ebpf_bot_linux.finding.notes import notes

__all__ = ["MAGIC", "Elf", "Section", "Segment", "SymbolTable", "file_offset", "file_offsets"]

MAGIC: Final = b"\x7fELF"

_MAX_SEGMENTS: Final = 1024
"""The kernel loads no program whose program headers fill more than 64 KiB, 1,170 of them."""
_MAX_SECTIONS: Final = 16_384
"""Linkers leave about 40; only unlinked object files have one a function."""
_MAX_NOTES: Final = 1 << 16
"""Bytes of notes that are searched for the build-id; real ones have some hundred."""
_MAX_SECTION_NAMES: Final = 1 << 20
"""Bytes of the names of sections; real ones have less than 1 KiB."""
_MAX_DYNAMIC: Final = 1 << 16
"""Bytes of dynamic entries; real ones have less than 2 KiB."""
_ADDRESS_SPACE: Final = 1 << 64
_PAGE: Final = 4096
"""The smallest page of any supported machine; offset and address of a segment agree modulo it."""

_NT_GNU_BUILD_ID: Final = 3
_SHF_COMPRESSED: Final = 0x800
_PF_X: Final = 1
_PF_W: Final = 2
_IDENTIFICATION: Final = 16
"""Bytes of e_ident, with which the header begins in every class of file."""
_HEADER_SIZES: Final = {32: 52, 64: 64}
_SYMBOL_SIZES: Final = {32: 16, 64: 24}


@attrs.frozen
class Segment:
    """One PT_LOAD segment: `size` bytes at the file offset `offset`, mapped to the address `address`."""

    offset: int
    address: int
    size: int
    executable: bool
    writable: bool


@attrs.frozen
class Section:
    """Where a section is in the memory of the program, and in the file, as its header claims.

    Attributes:
        compressed: SHF_COMPRESSED; a header that says how precedes the bytes.
    """

    address: int
    offset: int
    size: int
    compressed: bool


@attrs.frozen
class SymbolTable:
    """Where a symbol table and its strings are in the file, in bytes; all of it is inside the file.

    Attributes:
        count: how many symbols it has.
        dynamic: SHT_DYNSYM (`.dynsym`) rather than SHT_SYMTAB (`.symtab`).
    """

    offset: int
    count: int
    strings_offset: int
    strings_size: int
    dynamic: bool


class Elf:
    """The headers of one ELF file.

    Every method may raise what `damage_refused` catches.

    Attributes:
        type: `ET_EXEC`, `ET_DYN`, `ET_REL`...; a number if pyelftools knows no name.
        machine: `EM_X86_64`...; likewise.
        bits: 32 or 64.
        little_endian: whether numbers in it are.
        entry: e_entry, the address of a program's first instruction.
    """

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        head = file.read(0, min(file.size, _HEADER_SIZES[64]))
        if head[:4] != MAGIC:
            raise ElfError("it does not begin as one")
        identity = head.ljust(_IDENTIFICATION, b"\0")
        bits, order = {1: 32, 2: 64}.get(identity[4]), {1: True, 2: False}.get(identity[5])
        if bits is None or order is None:
            raise ElfError("its header names no word size and byte order")
        if len(head) < _HEADER_SIZES[bits]:
            raise ElfError("it ends within its header")
        self.bits = bits
        self.little_endian = order
        self._structs = ELFStructs(little_endian=order, elfclass=bits)
        self._structs.create_basic_structs()
        self._header: Any = self._structs.Elf_Ehdr.parse(head)
        self.type: str | int = self._header.e_type
        self.machine: str | int = self._header.e_machine
        self.entry: int = self._header.e_entry
        self._structs.create_advanced_structs(self._header.e_type, self._header.e_machine)
        self._programs: list[Any] | None = None
        self._sections: list[Any] | None = None

    def segments(self) -> tuple[Segment, ...]:
        """Return the PT_LOAD segments that have bytes in the file, all of which the kernel could map."""
        loads = (entry for entry in self._program_headers() if entry.p_type == "PT_LOAD" and entry.p_filesz)
        segments = []
        for load in loads:
            if load.p_offset + load.p_filesz > self._file.size:
                raise ElfError("a segment goes on past the end of the file")
            if load.p_filesz > load.p_memsz or load.p_vaddr + load.p_memsz > _ADDRESS_SPACE:
                raise ElfError("a segment does not fit its addresses")
            if (load.p_offset - load.p_vaddr) % _PAGE:
                raise ElfError("a segment's offset and address disagree within the page")
            segments.append(
                Segment(
                    load.p_offset,
                    load.p_vaddr,
                    load.p_filesz,
                    executable=bool(load.p_flags & _PF_X),
                    writable=bool(load.p_flags & _PF_W),
                )
            )
        return tuple(segments)

    def symbol_tables(self) -> tuple[SymbolTable, ...]:
        """Return where `.symtab` and `.dynsym` are, told by their section types, not by their names."""
        sections = self._section_headers()
        tables = []
        for section in sections:
            if section.sh_type not in ("SHT_SYMTAB", "SHT_DYNSYM") or not section.sh_size:
                continue
            if section.sh_entsize != _SYMBOL_SIZES[self.bits]:
                raise ElfError("a symbol table's entries have no known size")
            if section.sh_link >= len(sections) or sections[section.sh_link].sh_type != "SHT_STRTAB":
                raise ElfError("a symbol table has no strings")
            strings = sections[section.sh_link]
            if any(part.sh_offset + part.sh_size > self._file.size for part in (section, strings)):
                raise ElfError("a symbol table goes on past the end of the file")
            tables.append(
                SymbolTable(
                    offset=section.sh_offset,
                    count=section.sh_size // section.sh_entsize,
                    strings_offset=strings.sh_offset,
                    strings_size=strings.sh_size,
                    dynamic=section.sh_type == "SHT_DYNSYM",
                )
            )
        return tuple(tables)

    def build_id(self) -> str:
        """Return the GNU build-id in hexadecimal digits, empty where there is none.

        It is the descriptor of the note of type NT_GNU_BUILD_ID and name `GNU`. Files of debug information keep the
        note's section but may lose its segment, so both are searched.
        """
        places = [(h.p_offset, h.p_filesz) for h in self._program_headers() if h.p_type == "PT_NOTE"]
        places += [(h.sh_offset, h.sh_size) for h in self._section_headers() if h.sh_type == "SHT_NOTE"]
        budget = _MAX_NOTES
        for offset, size in places:
            if size > budget or offset + size > self._file.size:
                continue
            budget -= size
            data = self._file.read(offset, size)
            for name, kind, descriptor in notes(data, little_endian=self.little_endian):
                if name == b"GNU\0" and kind == _NT_GNU_BUILD_ID:
                    return descriptor.hex()
        return ""

    def section(self, name: str) -> Section | None:
        """Return the first section of a name, None if there is none."""
        sections, at = self._section_headers(), self._header.e_shstrndx
        if at >= len(sections):
            return None
        names = self._file.read(sections[at].sh_offset, min(sections[at].sh_size, _MAX_SECTION_NAMES))
        sought = name.encode() + b"\0"
        for section in sections:
            if names.startswith(sought, section.sh_name):
                compressed = bool(section.sh_flags & _SHF_COMPRESSED)
                return Section(section.sh_addr, section.sh_offset, section.sh_size, compressed)
        return None

    def dynamic(self) -> dict[str, int]:
        """Return the values of the dynamic entries by tag (`DT_INIT`...), the first of each; empty if static."""
        found = [header for header in self._program_headers() if header.p_type == "PT_DYNAMIC"]
        if not found:
            return {}
        if found[0].p_filesz > _MAX_DYNAMIC:
            raise ElfError("its dynamic section is larger than any")
        values: dict[str, int] = {}
        for entry in self._table(self._structs.Elf_Dyn, found[0].p_offset, found[0].p_filesz):
            if entry.d_tag == "DT_NULL":
                break
            values.setdefault(str(entry.d_tag), entry.d_val)
        return values

    def has_interpreter(self) -> bool:
        """Whether a dynamic linker is named (PT_INTERP), as programs do and few libraries."""
        return any(header.p_type == "PT_INTERP" for header in self._program_headers())

    def _program_headers(self) -> list[Any]:
        if self._programs is None:
            count, layout = self._header.e_phnum, self._structs.Elf_Phdr
            if count > _MAX_SEGMENTS:
                raise ElfError(f"it has {count} program headers")
            if count and self._header.e_phentsize != layout.sizeof():
                raise ElfError("its program headers have no known size")
            self._programs = self._table(layout, self._header.e_phoff, count * layout.sizeof())
        return self._programs

    def _section_headers(self) -> list[Any]:
        if self._sections is None:
            count, layout = self._header.e_shnum, self._structs.Elf_Shdr
            if not self._header.e_shoff:
                count = 0
            elif not count or count > _MAX_SECTIONS:  # 0: more than 65,279, told elsewhere
                raise ElfError(f"it has {count or 'too many'} sections")
            if count and self._header.e_shentsize != layout.sizeof():
                raise ElfError("its section headers have no known size")
            self._sections = self._table(layout, self._header.e_shoff, count * layout.sizeof())
        return self._sections

    def _table(self, layout: Struct, offset: int, size: int) -> list[Any]:
        """Return the structures of a table of `size` bytes; an incomplete last one is left out."""
        data, step = self._file.read(offset, size) if size else b"", layout.sizeof()
        return [layout.parse(data[at : at + step]) for at in range(0, len(data) - step + 1, step)]


def file_offset(segments: tuple[Segment, ...], address: int, *, executable: bool) -> int | None:
    """Return address - p_vaddr + p_offset of the first segment that holds `address`, None if none does.

    Args:
        executable: look in executable segments only.
    """
    for segment in segments:
        if (segment.executable or not executable) and 0 <= address - segment.address < segment.size:
            return address - segment.address + segment.offset
    return None


def file_offsets(
    addresses: NDArray[np.uint64], segments: Sequence[Segment]
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the file offset of each address, and whether a segment holds it; the first one that does."""
    offsets = np.zeros(len(addresses), np.uint64)
    inside = np.zeros(len(addresses), np.bool_)
    for segment in segments:
        # Below the segment this wraps round to a number that no segment is as large as.
        into = addresses - np.uint64(segment.address)
        here = (into < np.uint64(segment.size)) & ~inside
        offsets[here] = into[here] + np.uint64(segment.offset)
        inside |= here
    return offsets, inside
