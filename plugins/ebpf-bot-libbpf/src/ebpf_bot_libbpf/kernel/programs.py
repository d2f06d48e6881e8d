"""The programs of coverage.bpf.c in the kernel, with the memory that they share with us."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Final

from ebpf_bot_core import Scope
from ebpf_bot_libbpf.kernel import syscalls
from ebpf_bot_libbpf.kernel.counters import Counters
from ebpf_bot_libbpf.kernel.lskel import LightSkeleton
from ebpf_bot_libbpf.kernel.variables import Variables

__all__ = ["Programs"]

_ASSET: Final = ("bpf", "coverage.lskel")
_COVERED_WORDS: Final = (1 << 22) // 64
"""One bit for each thread id that Linux can give."""


class Programs:
    """One loaded set of programs; every injection has its own, and it goes with its descriptors.

    Args:
        sites: how many counters there are.
        scope: whose hits count.
        keep: whether every hit counts, or only the first one matters.

    Attributes:
        counters: what the programs have counted.
        variables: their global variables.

    Raises:
        KernelError: they cannot be loaded here.
    """

    def __init__(self, sites: int, *, scope: Scope, keep: bool) -> None:
        in_command = scope is Scope.COMMAND
        self._object = LightSkeleton.read(files(__package__).joinpath(*_ASSET)).load(
            max_entries={"counts": sites, "covered": _COVERED_WORDS if in_command else 1},
            constants={"keep": keep, "filter": in_command},
        )
        self.counters = Counters(self._object.maps["counts"], sites)
        self.variables = Variables(self._object.maps["bss"], self._object.variables["bss"])

    def __getitem__(self, name: str) -> int:
        """Return the descriptor of the program of that name."""
        return self._object.programs[name]

    def covers(self, tid: int) -> bool:
        """Whether scope COMMAND covers a thread, by its id in the initial pid namespace."""
        word = syscalls.read_element(self._object.maps["covered"], tid // 64, 8)
        return bool(int.from_bytes(word, sys.byteorder) >> tid % 64 & 1)

    def lost(self) -> int:
        """Return how many runs of the programs the kernel has left out, because one was running on that CPU.

        In scope COMMAND some of them may have been runs for others, which would not have counted.
        """
        return sum(map(syscalls.recursion_misses, self._object.programs.values()))

    def close(self) -> None:
        """Give the programs up; the kernel drops each once no link holds it. May be called twice."""
        self.counters.close()
        self.variables.close()
        self._object.close()
