"""The functions of the kernel: their names, which of them can be traced, and where they are."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Final

from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.tracefs import Tracefs

__all__ = ["KALLSYMS", "KernelFunctions"]

KALLSYMS: Final = Path("/proc/kallsyms")
"""`ADDRESS TYPE NAME [MODULE]`, readable by everyone; the addresses are 0 for those who may not see them."""

_CODE: Final = re.compile(rb"^([0-9a-f]+) [tTwW] (\S+)", re.MULTILINE)


class KernelFunctions:
    """The functions of the kernel and of its loaded modules, read once each.

    Args:
        kallsyms: a file in the format of /proc/kallsyms.
    """

    def __init__(self, tracefs: Tracefs, kallsyms: Path = KALLSYMS) -> None:
        self._tracefs = tracefs
        self._kallsyms = kallsyms

    @cached_property
    def traceable(self) -> Counter[str]:
        """How many functions of each name can be traced, in no order.

        As tracefs lists them; where it does not, all functions, since then only trying tells.
        """
        try:
            return Counter(self._tracefs.functions())
        except UnprobeableError:
            return Counter(name.decode("ascii", "replace") for _, name in self._symbols)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """{another name of a traceable function: the one that tracefs lists}, where we may see the addresses.

        Of the names that an address has tracefs lists one: `__do_sys_getppid`, and not `__x64_sys_getppid`.
        """
        listed = {}
        for name, count in self.traceable.items():
            (address, *more) = self._addresses.get(name.encode(), (0,))
            if count == 1 and address and not more:
                listed[address] = name
        return {
            name: listed[addresses[0]]
            for raw, addresses in self._addresses.items()
            if len(addresses) == 1
            and addresses[0] in listed
            and (name := raw.decode("ascii", "replace")) not in self.traceable
        }

    def addresses(self, name: str) -> tuple[int, ...]:
        """Return the addresses of the functions of a name, ascending; 0 where we may not see them."""
        return tuple(sorted(self._addresses.get(name.encode(), ())))

    def why_not(self, name: str) -> str:
        """Say of a name that is not there what became of it, as the end of a sentence; empty if unknown."""
        start = f"{name}.".encode()
        first = bisect_left(self._dotted, start)
        clones = [
            other.decode("ascii", "replace")
            for other in self._dotted[first : first + 3]
            if other.startswith(start)
        ]
        return f": the compiler has made {' and '.join(clones)} of it; probe that" if clones else ""

    @cached_property
    def _addresses(self) -> dict[bytes, list[int]]:
        """Addresses by name."""
        found: dict[bytes, list[int]] = {}
        for address, name in self._symbols:
            found.setdefault(name, []).append(int(address, 16))
        return found

    @cached_property
    def _dotted(self) -> list[bytes]:
        """The names with a dot, such as those of what the compiler has made of functions, ascending."""
        return sorted(name for name in self._addresses if b"." in name)

    @cached_property
    def _symbols(self) -> list[tuple[bytes, bytes]]:
        """Address, in hexadecimal digits, and name of each function."""
        try:
            return _CODE.findall(self._kallsyms.read_bytes())
        except OSError:
            return []
