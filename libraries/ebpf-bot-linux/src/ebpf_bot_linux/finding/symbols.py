"""Symbol tables in columns: numpy reads the entries of a table at once, and each name is decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind
from ebpf_bot_linux.finding.damage import ElfError
from ebpf_bot_linux.finding.elf import Elf, SymbolTable
from ebpf_bot_linux.finding.files import OpenFile
from ebpf_bot_linux.finding.spelling import can_spell

__all__ = ["STT_FUNC", "STT_GNU_IFUNC", "SymbolSource", "Symbols", "read_symbols"]

STT_OBJECT: Final = 1
STT_FUNC: Final = 2
STT_COMMON: Final = 5
STT_TLS: Final = 6
STT_GNU_IFUNC: Final = 10

_KEPT: Final = np.isin(np.arange(16), (STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC))
"""By the type in the low 4 bits of st_info: code and data; not sections, files and labels without a type."""

_ENTRY: Final = {
    64: np.dtype(
        [
            ("name", "<u4"),
            ("info", "u1"),
            ("other", "u1"),
            ("section", "<u2"),
            ("value", "<u8"),
            ("size", "<u8"),
        ]
    ),
    32: np.dtype(
        [
            ("name", "<u4"),
            ("value", "<u4"),
            ("size", "<u4"),
            ("info", "u1"),
            ("other", "u1"),
            ("section", "<u2"),
        ]
    ),
}
"""Elf64_Sym (24 bytes) and Elf32_Sym (16 bytes), System V gABI, chapter 4, "Symbol Table"."""

_MAX_SYMBOLS: Final = 5_000_000
"""In all tables of one file; a browser with its debug symbols has about a million."""
_MAX_NAME: Final = 4096
"""Bytes of a name. C++ templates come near it."""
_MAX_STRINGS: Final = 256 << 20
"""Bytes of one string table; that of a browser with its debug symbols has about 100 MiB."""
_NONE: Final = np.zeros(0, np.uint8)
"""Begins a column that may have no table; the smallest type, so that it gives way to any other."""
_FREE_OVERLAP: Final = 64 << 20
"""Linkers let one name end another, so names may add up to more than the table. A hostile table can make that
quadratic: so they may add up to this many bytes, or twice the table."""


@attrs.frozen(eq=False)
class Symbols:
    """The named code and data symbols of some tables, in columns of one length.

    Attributes:
        names: each distinct name once.
        name: index into `names`, intp.
        type: STT_*, uint8.
        defined: whether the symbol is defined here and not imported.
        address: st_value, uint64.
        size: st_size, uint64.
        labels: st_value of all symbols that are defined here, whatever they are, and whether or not they have a name.
        unnameable: how many distinct names of functions were left out, since no probe name can spell them.
    """

    names: tuple[str, ...]
    name: NDArray[np.intp]
    type: NDArray[np.uint8]
    defined: NDArray[np.bool_]
    address: NDArray[np.uint64]
    size: NDArray[np.uint64]
    labels: NDArray[np.uint64]
    unnameable: int


SymbolSource = tuple[OpenFile, Elf, SymbolTable]
"""A table and the file that it is in."""


def read_symbols(sources: Sequence[SymbolSource]) -> Symbols:
    """Read some symbol tables of one binary and of its separate debug file as if they were one.

    Raises:
        ElfError, EOFError: the tables are damaged, or larger than the limits above.
    """
    if sum(table.count for _, _, table in sources) > _MAX_SYMBOLS:
        raise ElfError(f"it has more than {_MAX_SYMBOLS} symbols")
    numbers: dict[str, int] = {}
    unspeakable: set[bytes] = set()
    name, kept, labels = [_NONE.astype(np.intp)], [], [_NONE]
    for file, elf, table in sources:
        everything = _entries(file, elf, table)
        labels.append(everything["value"][everything["section"] != 0])
        entries = everything[_KEPT[everything["info"] & 0xF] & (everything["name"] != 0)]
        texts, which = _texts(file, table, entries["name"])
        index = np.fromiter(
            (numbers.setdefault(text, len(numbers)) if text else -1 for text in map(_spoken, texts)),
            np.intp,
            len(texts),
        )[which]
        functions = (index < 0) & (entries["info"] & 0xF == STT_FUNC) & (entries["section"] != 0)
        unspeakable.update(texts[i] for i in np.unique(which[functions]).tolist() if texts[i])
        name.append(index[index >= 0])
        kept.append(entries[index >= 0])
    return Symbols(
        names=tuple(numbers),
        name=np.concatenate(name),
        type=np.concatenate([_NONE, *(table["info"] & 0xF for table in kept)]).astype(np.uint8),
        defined=np.concatenate([_NONE, *(table["section"] for table in kept)]) != 0,  # SHN_UNDEF
        address=np.concatenate([_NONE, *(table["value"] for table in kept)]).astype(np.uint64),
        size=np.concatenate([_NONE, *(table["size"] for table in kept)]).astype(np.uint64),
        labels=np.concatenate(labels).astype(np.uint64),
        unnameable=len(unspeakable),
    )


def _entries(file: OpenFile, elf: Elf, table: SymbolTable) -> NDArray[np.void]:
    layout = _ENTRY[elf.bits]
    return np.frombuffer(file.read(table.offset, table.count * layout.itemsize), layout)


def _texts(
    file: OpenFile, table: SymbolTable, starts: NDArray[np.uint32]
) -> tuple[list[bytes], NDArray[np.intp]]:
    """Return the distinct names as bytes, and for each entry which of them is its.

    A name that begins or ends beyond the string table, or is longer than any, is empty.
    """
    if table.strings_size > _MAX_STRINGS:
        raise ElfError("its names are longer than any program's")
    strings = file.read(table.strings_offset, table.strings_size)
    distinct, which = np.unique(starts, return_inverse=True)
    begins = distinct.tolist()
    ends = [max(begin, strings.find(b"\0", begin, begin + _MAX_NAME)) for begin in begins]
    if sum(ends) - sum(begins) > max(_FREE_OVERLAP, 2 * len(strings)):
        raise ElfError("its names overlap more than a linker would let them")
    return [strings[begin:end] for begin, end in zip(begins, ends, strict=True)], which


def _spoken(raw: bytes) -> str:
    """Return a symbol's name as a probe's name spells it: without its version, empty where none can spell it.

    `memcpy@@GLIBC_2.14` is `memcpy`. Go has functions whose names contain a colon, which ends the path in the name of
    a probe; a hostile file may have any bytes.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    if text.isidentifier():  # the short way, for nearly all
        return text
    if "@" in text[1:]:
        text = text[: text.index("@", 1)]
    return text if can_spell(ProbeKind.UPROBE, text) else ""
