"""The floor: one uprobe_multi link with a program that does nothing. No tool that counts can cost less a hit.

Written with bpf(2) alone, so that it does not depend on any part of what it is compared with; kernel 6.6. Run as
`python -m benchmarks.comparison.peers.floor BINARY OFFSETS -- COMMAND`, where OFFSETS is a file of numbers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.functions import Program

_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _LINK_CREATE = 5, 28
_KPROBE, _UPROBE_MULTI = 2, 48
_RETURN_0 = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)  # r0 = 0; exit


class Floor:
    """An empty program at every function."""

    name = "floor (empty program)"
    package = "the kernel"

    def version(self) -> str | None:
        """Return that of the kernel."""
        return platform.release()

    def functions(self, program: Program, command: Sequence[str], folder: Path) -> list[str]:
        """Attach to all and count nothing."""
        offsets = folder / "offsets"
        offsets.write_text("\n".join(map(str, program.offsets().values())), encoding="ascii")
        return [sys.executable, "-m", __spec__.name, str(program.binary), str(offsets), "--", *command]

    def seen(self, _: str, __: Path) -> None:
        """Count nothing."""


def attach_empty(binary: Path, offsets: Sequence[int]) -> int:
    """Attach an empty program to these places in a file; return the link, which the caller closes."""
    code, licence = ctypes.create_string_buffer(_RETURN_0), ctypes.create_string_buffer(b"GPL")
    path = ctypes.create_string_buffer(os.fsencode(binary))
    places = (ctypes.c_uint64 * len(offsets))(*offsets)
    # The head of `union bpf_attr`: up to expected_attach_type for PROG_LOAD, up to pid for LINK_CREATE.
    head = (_KPROBE, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0, b"floor", 0)
    program = _bpf(_PROG_LOAD, struct.pack("<IIQQIIQII16sII", *head, _UPROBE_MULTI))
    where = (ctypes.addressof(path), ctypes.addressof(places), 0, 0, len(offsets), 0, 0)
    link = _bpf(_LINK_CREATE, struct.pack("<IIIIQQQQIIII", program, 0, _UPROBE_MULTI, 0, *where, 0))
    os.close(program)
    return link


def _bpf(command: int, attributes: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(_BPF[platform.machine()], command, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}: {os.strerror(ctypes.get_errno())}")
    return result


def main() -> int:
    """Run a command with the empty program attached."""
    binary, offsets, _, *command = sys.argv[1:]
    link = attach_empty(
        Path(binary), [int(line) for line in Path(offsets).read_text(encoding="ascii").split()]
    )
    status = subprocess.call(command)
    os.close(link)
    return status


if __name__ == "__main__":
    sys.exit(main())
