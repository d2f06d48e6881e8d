"""Where code lies that runs once whenever a file is loaded, to count how often its functions could have run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from ebpf_bot_linux.finding.elf import Elf, Segment, file_offset
from ebpf_bot_linux.finding.files import OpenFile
from ebpf_bot_linux.finding.instructions import misrun_in, refused_in

__all__ = ["load_offset"]

_RELATIVE: Final = {"EM_X86_64": 8, "EM_AARCH64": 1027}
"""R_X86_64_RELATIVE, R_AARCH64_RELATIVE: the loader stores base + addend."""
_RELA: Final = np.dtype([("offset", "<u8"), ("info", "<u8"), ("addend", "<i8")])
"""Elf64_Rela; the low 32 bits of `info` are the type."""
_MAX_RELOCATIONS: Final = 64 << 20
"""Bytes of relocations that are searched; libpython has 0.5 MB, a browser 20 MB."""
_DF_1_PIE: Final = 0x08000000


def load_offset(file: OpenFile, elf: Elf, segments: tuple[Segment, ...]) -> int | None:
    """Return the file offset of code that runs once when the file is loaded, None if there is none to be probed.

    For a program that is its entry point. For a library it is what the dynamic linker calls first: DT_INIT, else the
    first function of DT_INIT_ARRAY. An offset that uprobes refuse, or whose instruction they would run wrongly, is
    passed over.
    """
    rules = [rule(file, elf.machine) for rule in (refused_in, misrun_in)]
    for address in _addresses(file, elf, segments):
        offset = file_offset(segments, address, executable=True)
        if offset is not None and not any(rule(np.array([offset], np.uint64))[0] for rule in rules):
            return offset
    return None


def _addresses(file: OpenFile, elf: Elf, segments: tuple[Segment, ...]) -> Iterator[int]:
    dynamic = elf.dynamic()
    if _is_program(elf, dynamic):
        yield elf.entry
        return
    if "DT_INIT" in dynamic:
        yield dynamic["DT_INIT"]
    if dynamic.get("DT_INIT_ARRAYSZ"):
        first = _first_initialiser(file, elf, segments, dynamic)
        if first is not None:
            yield first


def _is_program(elf: Elf, dynamic: dict[str, int]) -> bool:
    """Tell a program from a library; both may be ET_DYN, and libc.so.6 even names an interpreter."""
    if elf.type == "ET_EXEC" or dynamic.get("DT_FLAGS_1", 0) & _DF_1_PIE:
        return True
    return elf.has_interpreter() and "DT_SONAME" not in dynamic


def _first_initialiser(
    file: OpenFile, elf: Elf, segments: tuple[Segment, ...], dynamic: dict[str, int]
) -> int | None:
    """Return the address in DT_INIT_ARRAY[0]: the addend of the relocation for it, else what is stored there.

    It is stored there in files that are relocated with DT_REL or DT_RELR, or not at all.
    """
    array = dynamic.get("DT_INIT_ARRAY", 0)
    addend = _relative_addend(file, elf, segments, dynamic, array)
    if addend is not None:
        return addend
    at = file_offset(segments, array, executable=False)
    if at is None:
        return None
    return int.from_bytes(file.read(at, elf.bits // 8), "little")


def _relative_addend(
    file: OpenFile, elf: Elf, segments: tuple[Segment, ...], dynamic: dict[str, int], address: int
) -> int | None:
    """Return the addend of the RELATIVE relocation in DT_RELA that fills `address`."""
    at = file_offset(segments, dynamic.get("DT_RELA", 0), executable=False)
    size = dynamic.get("DT_RELASZ", 0) // _RELA.itemsize * _RELA.itemsize
    if at is None or not size or size > _MAX_RELOCATIONS or elf.bits != 64:  # noqa: PLR2004
        return None
    table = np.frombuffer(file.read(at, size), _RELA)
    kind = table["info"] & np.uint64(0xFFFFFFFF)
    found = (table["offset"] == np.uint64(address)) & (kind == _RELATIVE.get(str(elf.machine)))
    addends = table["addend"][found]
    return int(addends[0]) if len(addends) else None
