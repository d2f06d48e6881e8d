"""The programs of one mode in the kernel, with the memory that they share with us."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import attrs

from ebpf_bot_core import Scope
from ebpf_bot_libbpf.kernel import syscalls
from ebpf_bot_libbpf.kernel.counters import Counters
from ebpf_bot_libbpf.kernel.lskel import LightSkeleton
from ebpf_bot_libbpf.kernel.variables import Variables

__all__ = ["COUNTING", "STREAMING", "Asset", "Programs"]

_COVERED_WORDS: Final = (1 << 22) // 64
"""One bit for each thread id that Linux can give."""


@attrs.frozen
class Asset:
    """One object with the programs of one mode. All have those of sites.bpf.h, and the same names where they can.

    Attributes:
        name: of the files `kernel/bpf/NAME.bpf.c` and `NAME.lskel`.
        on_entry: the programs that serve a function's entry: (name, whether it runs on return), in the order in which
            they are attached; likewise `on_return` and `on_usdt`.
    """

    name: str
    on_entry: tuple[tuple[str, bool], ...]
    on_return: tuple[tuple[str, bool], ...]
    on_usdt: tuple[tuple[str, bool], ...]


COUNTING: Final = Asset(
    "coverage", (("uprobe_hit", False),), (("uprobe_hit", True),), (("uprobe_hit", False),)
)
STREAMING: Final = Asset(
    "stream",
    (("uprobe_hit", False),),
    # The entry is there first, so that no return is seen whose time is not known.
    (("uprobe_enter", False), ("uprobe_return", True)),
    (("uprobe_usdt", False),),
)


class Programs:
    """One loaded set of programs; every injection has its own, and it goes with its descriptors.

    Args:
        sites: how many counters there are.
        scope: whose hits count.
        asset: which programs.
        max_entries: of further maps of the asset.
        constants: of variables that only this asset has.

    Attributes:
        asset: which they are.
        counters: what the programs have counted.
        variables: their global variables.

    Raises:
        KernelError: they cannot be loaded here.
    """

    def __init__(
        self,
        sites: int,
        *,
        scope: Scope,
        asset: Asset = COUNTING,
        max_entries: Mapping[str, int] | None = None,
        constants: Mapping[str, int] | None = None,
    ) -> None:
        in_command = scope is Scope.COMMAND
        self.asset = asset
        self._object = LightSkeleton.read(files(__package__).joinpath("bpf", f"{asset.name}.lskel")).load(
            max_entries={
                "counts": sites,
                "covered": _COVERED_WORDS if in_command else 1,
                **(max_entries or {}),
            },
            constants={"filter": in_command, **(constants or {})},
        )
        self.counters = Counters(self._object.maps["counts"], sites)
        self.variables = Variables(self._object.maps["bss"], self._object.variables["bss"])

    def __getitem__(self, name: str) -> int:
        """Return the descriptor of the program of that name."""
        return self._object.programs[name]

    def map(self, name: str) -> int:
        """Return the descriptor of the map of that name."""
        return self._object.maps[name]

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
