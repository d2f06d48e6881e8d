"""The programs of one mode in the kernel, with the memory that they share with us."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping
from typing import Final

from ebpf_bot_core import Scope
from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.abi import AttachType, ProgramType
from ebpf_bot_linux.kernel.assets import COUNTING, Asset
from ebpf_bot_linux.kernel.counters import Counters, Notes
from ebpf_bot_linux.kernel.loaded import Loader
from ebpf_bot_linux.kernel.variables import Variables

__all__ = ["Programs"]

_THREAD_WORDS: Final = (1 << 22) // 64
"""One bit for each thread id that Linux can give."""


class Programs:
    """One loaded set of programs; every injection has its own, and it goes with its descriptors.

    Args:
        loader: brings them into the kernel.
        sites: how many counters there are.
        scope: whose hits count.
        keep: whether no hit may be counted twice while one link follows on another.
        asset: which programs.
        max_entries: of further maps of the asset.
        constants: of variables that only this asset has.

    Attributes:
        loader: what brought them.
        asset: which they are.
        counters: what the programs have counted: one counter a site; in count mode and scope `COMMAND` then as many again,
            which hold the hits out of scope of the places in code.
        notes: what a handover needs, see `ebpf_bot_linux.attaching.handover`; one bit a thread.
        variables: their global variables.

    Raises:
        KernelError: they cannot be loaded here.
    """

    def __init__(
        self,
        loader: Loader,
        sites: int,
        *,
        scope: Scope,
        keep: bool,
        asset: Asset = COUNTING,
        max_entries: Mapping[str, int] | None = None,
        constants: Mapping[str, int] | None = None,
    ) -> None:
        in_command = scope is Scope.COMMAND
        self.asset = asset
        counters = 2 * sites if in_command and asset.counts_others else sites
        others = {"others": sites if in_command else 0} if asset.counts_others else {}
        self.loader = loader
        self._object = loader.load(
            asset,
            max_entries={
                "counts": counters,
                "covered": _THREAD_WORDS if in_command else 1,
                "notes": _THREAD_WORDS if keep else 1,
                **(max_entries or {}),
            },
            constants={"keep": keep, "filter": in_command, **others, **(constants or {})},
        )
        self._copies: set[int] = set()
        self._lost_by_dropped = 0
        self.counters = Counters(self._object.maps["counts"], counters)
        self.notes = Notes(self._object.maps["notes"], _THREAD_WORDS if keep else 1)
        self.variables = Variables(self._object.maps["bss"], self._object.variables["bss"])

    def __getitem__(self, name: str) -> int:
        """Return the descriptor of the program of that name."""
        return self._object.programs[name]

    def map(self, name: str) -> int:
        """Return the descriptor of the map of that name."""
        return self._object.maps[name]

    def covers(self, tid: int) -> bool:
        """Whether scope COMMAND covers a thread, by its id in the initial pid namespace."""
        word = syscalls.read_element(self._object.maps["covered"], tid // 64, 8)
        return bool(int.from_bytes(word, sys.byteorder) >> tid % 64 & 1)

    def load_copy(
        self,
        site: int,
        *,
        type: ProgramType,  # noqa: A002 - as the kernel calls it
        attach_type: AttachType = AttachType.NONE,
        btf_id: int = 0,
        template: str = "",
    ) -> int:
        """Load a program that counts one site, for where no cookie could tell it which; see `LoadedObject.load_copy`.

        It stays until it is dropped.

        Args:
            template: what to load, where that is not the asset's own.
        """
        copy = self._object.load_copy(
            template or "site_hit", site, type=type, attach_type=attach_type, btf_id=btf_id
        )
        self._copies.add(copy)
        return copy

    def drop_copy(self, copy: int) -> None:
        """Give up a program of one site, which the kernel drops once no link holds it."""
        self._lost_by_dropped += syscalls.recursion_misses(copy)
        self._copies.remove(copy)
        os.close(copy)

    def lost(self) -> int:
        """Return how many runs of the programs the kernel has left out, because one was running on that CPU.

        In scope COMMAND some of them may have been runs for others, which would not have counted.
        """
        loaded = itertools.chain(self._object.programs.values(), self._copies)
        return self._lost_by_dropped + sum(map(syscalls.recursion_misses, loaded))

    def close(self) -> None:
        """Give the programs up; the kernel drops each once no link holds it. May be called twice."""
        self.counters.close()
        self.notes.close()
        self.variables.close()
        while self._copies:
            os.close(self._copies.pop())
        self._object.close()
