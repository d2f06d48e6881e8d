"""Names that the kernel, or its interface, gives without any privilege: raw tracepoints and syscalls."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Final

from ebpf_bot_linux.finding import btf

__all__ = [
    "BTF_ROOT",
    "SYSCALL_MACHINES",
    "raw_tracepoints",
    "syscall_arguments",
    "syscall_events",
    "syscalls",
]

BTF_ROOT: Final = Path("/sys/kernel/btf")
"""One file for the kernel, `vmlinux`, and one for each module; kernel 5.4, modules 5.11; readable by everyone."""

SYSCALL_MACHINES: Final = ("x86_64", "aarch64")
"""The machines whose syscalls are known."""

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
        found.update(_RAW_TRACEPOINT.findall(btf.strings(file)))
    return sorted(name.decode("ascii") for name in found)


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


_DEFINED_AS: Final = {
    "x86_64": {
        "newstat": "stat",
        "newfstat": "fstat",
        "newlstat": "lstat",
        "sendfile64": "sendfile",
        "newuname": "uname",
        "umount": "umount2",
    },
    "aarch64": {
        "newfstat": "fstat",
        "sendfile64": "sendfile",
        "newuname": "uname",
        "umount": "umount2",
        "fadvise64_64": "fadvise64",
        "arm64_personality": "personality",
    },
}
"""Machine -> {name in the kernel's source, which its events have: name of the syscall}, where they differ: from
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h."""


def syscall_events(machine: str) -> dict[str, int]:
    """Return the numbers of a machine's native syscalls by the names that events have, `sys_enter_NAME`.

    Raises:
        KeyError: the machine is not in `SYSCALL_MACHINES`.
    """
    numbers, defined_as = syscalls(machine), _DEFINED_AS[machine]
    renamed = {name: numbers[syscall] for name, syscall in defined_as.items()}
    # What else is called like such a syscall is an older one, which native programs cannot call.
    return {name: number for name, number in numbers.items() if name not in defined_as.values()} | renamed


def syscall_arguments() -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the arguments of syscalls, each as its name and its numpy type; those not known have none.

    The table was written by `scripts/syscall_arguments.py`; it is the same for all machines.
    """
    text = resources.files(__package__).joinpath("syscall_arguments.txt").read_text(encoding="ascii")
    found = {}
    for line in text.splitlines():
        name, *arguments = line.split()
        found[name] = tuple((argument, kind) for argument, _, kind in (a.partition(":") for a in arguments))
    renamed = _DEFINED_AS["x86_64"] | _DEFINED_AS["aarch64"]
    return found | {syscall: found[name] for name, syscall in renamed.items() if name in found}
