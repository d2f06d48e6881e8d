"""Names that the kernel, or its interface, gives without any privilege: raw tracepoints and syscalls."""

from __future__ import annotations

import re
import struct
from importlib import resources
from pathlib import Path
from typing import Final

from ebpf_bot_libbpf.finding.files import open_file
from ebpf_bot_libbpf.finding.refusals import UnprobeableError

__all__ = ["BTF_ROOT", "SYSCALL_MACHINES", "raw_tracepoints", "syscall_arguments", "syscalls"]

BTF_ROOT: Final = Path("/sys/kernel/btf")
"""One file for the kernel, `vmlinux`, and one for each module; kernel 5.4, modules 5.11; readable by everyone."""

SYSCALL_MACHINES: Final = ("x86_64", "aarch64")
"""The machines whose syscalls are known."""

_NAMES_INSIDE: Final = {
    "fstat": "newfstat",
    "lstat": "newlstat",
    "sendfile": "sendfile64",
    "stat": "newstat",
    "umount2": "umount",
    "uname": "newuname",
}
"""What the kernel calls some syscalls itself."""

_BTF_HEADER: Final = struct.Struct("=HBBIIIII")
"""`struct btf_header`, Documentation/bpf/btf.rst: magic, version, flags, hdr_len, and offset and length of the type
section and of the string section, both offsets counted from the header's end. 24 bytes, in the machine's byte order."""
_BTF_MAGIC: Final = 0xEB9F
_MAX_STRINGS: Final = 64 << 20
"""Bytes of a string section; a distribution's kernel has 4 MiB."""
_MAX_MODULES: Final = 4096
_RAW_TRACEPOINT: Final = re.compile(rb"\0btf_trace_(\w+)(?=\0)")
"""The macro that defines a tracepoint NAME gives BTF a typedef `btf_trace_NAME` (include/trace/bpf_probe.h)."""


def raw_tracepoints(root: Path = BTF_ROOT) -> list[str]:
    """Return the names of all tracepoints of the kernel and of its loaded modules, ascending.

    Only the strings of the BTF are searched, 10 ms for 2.3 MiB; walking all its types to find the same typedefs would
    take a second.

    Returns:
        An empty list where the kernel has no BTF (CONFIG_DEBUG_INFO_BTF).
    """
    try:
        files = sorted(root.iterdir())[:_MAX_MODULES]
    except OSError:
        return []
    found: set[bytes] = set()
    for file in files:
        found.update(_RAW_TRACEPOINT.findall(_strings(file)))
    return sorted(name.decode("ascii") for name in found)


def _strings(file: Path) -> bytes:
    """Return the string section: names, each ended by a zero byte, the first of them empty. Empty if unreadable."""
    try:
        with open_file(str(file)) as opened:
            magic, _, _, header_length, _, _, offset, length = _BTF_HEADER.unpack(
                opened.read(0, _BTF_HEADER.size)
            )
            if magic != _BTF_MAGIC:
                return b""
            return opened.read(header_length + offset, min(length, _MAX_STRINGS))
    except (UnprobeableError, EOFError, OSError):
        return b""


def syscalls(machine: str) -> dict[str, int]:
    """Return the numbers of a machine's native syscalls by name, in the order of their numbers.

    The tables hold `NUMBER NAME` lines; `scripts/syscall_table.py` wrote them from the kernel's headers.

    Raises:
        KeyError: the machine is not in `SYSCALL_MACHINES`.
    """
    if machine not in SYSCALL_MACHINES:
        raise KeyError(machine)
    text = resources.files(__package__).joinpath(f"syscalls_{machine}.txt").read_text(encoding="ascii")
    lines = (line.split() for line in text.splitlines())
    return {name: int(number) for number, name in lines}


def syscall_arguments() -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the arguments of syscalls, each as its name and its numpy type; those not known have none.

    The table was written by `scripts/syscall_arguments.py`; it is the same for all machines.
    """
    text = resources.files(__package__).joinpath("syscall_arguments.txt").read_text(encoding="ascii")
    found = {}
    for line in text.splitlines():
        name, *arguments = line.split()
        found[name] = tuple((argument, kind) for argument, _, kind in (a.partition(":") for a in arguments))
    return found | {name: found[inside] for name, inside in _NAMES_INSIDE.items()}
