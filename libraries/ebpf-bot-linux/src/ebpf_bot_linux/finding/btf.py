"""What is read of BTF, the kernel's description of its own types (Documentation/bpf/btf.rst)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from ebpf_bot_linux.finding.files import open_file
from ebpf_bot_linux.finding.refusals import UnprobeableError

__all__ = ["functions", "strings"]

_HEADER: Final = struct.Struct("=HBBIIIII")
"""`struct btf_header`: magic, version, flags, hdr_len, and offset and length of the type section and of the string
section, both offsets counted from the header's end. 24 bytes, in the machine's byte order."""
_MAGIC: Final = 0xEB9F
_MAX_SECTION: Final = 64 << 20
"""Bytes of a section; a distribution's kernel has 4 MiB of each."""
_FUNCTION: Final = 12
"""BTF_KIND_FUNC."""
_MORE: Final = {1: (1, 0), 3: (3, 0), 4: (0, 3), 5: (0, 3), 6: (0, 2), 13: (0, 2), 14: (1, 0), 15: (0, 3)} | {
    17: (1, 0),
    19: (0, 3),
}
"""Kind -> 32-bit words that follow the three of every type: so many, and so many for each of its `vlen` members."""
_MAX_KIND: Final = 19


def strings(file: Path) -> bytes:
    """Return the string section: names, each ended by a zero byte, the first of them empty. Empty if unreadable."""
    return _sections(file)[1]


def functions(file: Path) -> dict[str, int]:
    """Return {function: its type's id} of the kernel's BTF, 0.1 s for 120,000 types; empty if unreadable.

    Only that of the kernel itself: the ids of a module's count on from there.
    """
    types, names = _sections(file)
    words = memoryview(types[: len(types) // 4 * 4]).cast("I").tolist()
    found = {}
    at, type_id = 0, 1
    while at + 2 < len(words):
        info = words[at + 1]
        kind = info >> 24 & 31
        if kind == _FUNCTION:
            found[words[at]] = type_id
        elif kind > _MAX_KIND:
            break  # of a newer kernel, of unknown length
        fixed, each = _MORE.get(kind, (0, 0))
        at += 3 + fixed + each * (info & 0xFFFF)
        type_id += 1
    return {
        names[start : names.index(b"\0", start)].decode("ascii", "replace"): number
        for start, number in found.items()
        if names.find(b"\0", start) > start
    }


def _sections(file: Path) -> tuple[bytes, bytes]:
    """Return the types and the strings."""
    try:
        with open_file(str(file)) as opened:
            magic, _, _, header, types, types_size, names, names_size = _HEADER.unpack(
                opened.read(0, _HEADER.size)
            )
            if magic != _MAGIC:
                return b"", b""
            return (
                opened.read(header + types, min(types_size, _MAX_SECTION)),
                opened.read(header + names, min(names_size, _MAX_SECTION)),
            )
    except (UnprobeableError, EOFError, OSError):
        return b"", b""
