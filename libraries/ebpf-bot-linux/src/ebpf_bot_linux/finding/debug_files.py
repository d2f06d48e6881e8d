"""Separate debug files: where the symbols of a stripped binary may be, and which of them are really its own.

By build-id, as gdb's manual has it under "Debugging Information in Separate Files"; by `.gnu_debuglink`, a file name padded
to 4 bytes and the CRC-32 of the whole file, described there too; and by `.gnu_debugdata`, an ELF file of the symbols of
functions, packed with xz into the binary itself (gdb's "MiniDebugInfo").
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import attrs

from ebpf_bot_linux.finding.damage import damage_refused
from ebpf_bot_linux.finding.elf import Elf
from ebpf_bot_linux.finding.files import OpenFile, open_file
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.section_data import section_data, unpacked_xz

__all__ = ["DebugFile", "DebugFiles", "packed_symbols"]

_MAX_LINK: Final = 4096
_MAX_PACKED: Final = 32 << 20
_MAX_UNPACKED: Final = 128 << 20
"""Bytes of MiniDebugInfo; that of a browser unpacks to 30 MiB."""
_WINDOW: Final = 1 << 20


@attrs.frozen
class DebugFile:
    """An open file with symbols of a binary, at the binary's addresses."""

    file: OpenFile
    elf: Elf


class DebugFiles:
    """Finds the debug files of binaries.

    Args:
        root: the directory that holds `.build-id/xx/yyyy.debug`, and debug files under the directories of their
            binaries.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def expected(self, elf: Elf) -> str:
        """Return the path at which a debug file would be found by build-id, empty if the binary has none."""
        build_id = elf.build_id()
        return f"{self._root}/.build-id/{build_id[:2]}/{build_id[2:]}.debug" if build_id else ""

    def separate(self, stack: ExitStack, file: OpenFile, elf: Elf) -> DebugFile | None:
        """Return the debug file of a binary, open as long as `stack` is; None if there is none that is its own."""
        for path, checksum in self._candidates(file, elf):
            try:
                other = stack.enter_context(open_file(path))
                with damage_refused(path):
                    theirs = Elf(other)
                    if _crc(other) == checksum if checksum >= 0 else theirs.build_id() == elf.build_id():
                        return DebugFile(other, theirs)
            except UnprobeableError:
                continue
        return None

    def _candidates(self, file: OpenFile, elf: Elf) -> Iterator[tuple[str, int]]:
        """Yield paths, each with the CRC-32 that the file there must have, -1 where it must have the build-id."""
        by_id = self.expected(elf)
        if by_id:
            yield by_id, -1
        link = section_data(file, elf, ".gnu_debuglink", _MAX_LINK)
        name = link.partition(b"\0")[0]
        at = (len(name) + 4) // 4 * 4
        if name and b"/" not in name and at + 4 <= len(link):
            (checksum,) = struct.unpack_from("<I", link, at)
            directory, base = os.path.dirname(file.path), os.fsdecode(name)  # noqa: PTH120 - may be no path any more
            for place in (directory, f"{directory}/.debug", f"{self._root}{directory}"):
                if f"{place}/{base}" != file.path:
                    yield f"{place}/{base}", checksum


def packed_symbols(stack: ExitStack, file: OpenFile, elf: Elf) -> DebugFile | None:
    """Return the symbols that a binary has packed into itself, unpacked in memory as long as `stack` is open.

    Raises:
        ElfError, EOFError: they are damaged, or unpack to more than 128 MiB.
    """
    packed = section_data(file, elf, ".gnu_debugdata", _MAX_PACKED)
    if not packed:
        return None
    content = unpacked_xz(packed, _MAX_UNPACKED)
    descriptor = os.memfd_create("symbols", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as memory:
        memory.write(content)
    unpacked = OpenFile(file.path, descriptor, os.fstat(descriptor))
    return DebugFile(unpacked, Elf(unpacked))


def _crc(file: OpenFile) -> int:
    checksum = 0
    for at in range(0, file.size, _WINDOW):
        checksum = zlib.crc32(file.read(at, min(_WINDOW, file.size - at)), checksum)
    return checksum
