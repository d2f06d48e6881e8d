"""Other builds: files that covered processes run in the place of an expected binary, probed for the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeTable, Reason
from ebpf_bot_linux.attaching.attacher import Attacher, Refusal
from ebpf_bot_linux.attaching.choosing import Attachers
from ebpf_bot_linux.attaching.held_binary import Fate, HeldBinary
from ebpf_bot_linux.attaching.namesakes import Namesake
from ebpf_bot_linux.attaching.standing_in import StandIns
from ebpf_bot_linux.sites import CodeKind, Sites

__all__ = ["Elsewhere", "OtherBuild", "OtherBuilds"]

Elsewhere = Callable[[Sequence[str], str], Sites]
"""Takes the names of probes and the path of another file; returns the sites that they have there, in their order."""

_ABSENT: Final = "in which no probe of this name can be placed"
_MIXED: Final = "where the function shares its code with others than here"


@attrs.frozen(eq=False)
class _Layer:
    """Places of one kind in a file, each at most once.

    Attributes:
        counted_by: shape (n,), of each member the site that counts it, 0 for none.
        live: shape (n,), which are attached; `refused`: which the kernel has refused.
    """

    attacher: Attacher
    counted_by: NDArray[np.intp]
    live: NDArray[np.bool_]
    refused: NDArray[np.bool_]


class OtherBuild:
    """One such file, with the functions in it that have the names of expected ones; their sites count for it too.

    Args:
        namesake: where it is.
        rows: those of the binary in whose place it is run.
        elsewhere: the sites of these rows in the file.

    Attributes:
        binary: the number of the binary in whose place it is run.
        late: what to say of rows that were attached before it was noticed.
    """

    def __init__(
        self, namesake: Namesake, rows: NDArray[np.intp], elsewhere: Sites, sites: Sites, attachers: Attachers
    ) -> None:
        self.binary = namesake.binary
        self._where = f"process {namesake.pid}, in a root of its own, runs another file at this path"
        self._path = namesake.path
        said = f"{self._where}, {self._path}: it is probed too, but what it ran before that was not seen"
        self.late = Refusal(Reason.OTHER_FILE, said)
        self._sites = sites
        self._gaps: list[tuple[NDArray[np.bool_], Refusal]] = []
        self._held = {binary: HeldBinary(binary) for binary in elsewhere.binaries}
        self._loads = [
            attachers.of_loads(sites.first_load_site + namesake.binary, held) for held in self._held.values()
        ]
        stand_ins = StandIns.of(sites, elsewhere, rows)
        self._layers = [
            _Layer(
                attachers.of_binary(group, group.kind, counted_by, self._held[group.kind.binary]),
                counted_by,
                np.zeros(len(counted_by), np.bool_),
                np.zeros(len(counted_by), np.bool_),
            )
            for group in elsewhere.groups
            if isinstance(group.kind, CodeKind)
            for layer in stand_ins.layers
            if (counted_by := layer[group.first : group.end]).any()
        ]
        self._miss(stand_ins.absent, _ABSENT)
        self._miss(stand_ins.mixed, _MIXED)

    def keep_to(self, wanted: NDArray[np.bool_]) -> None:
        """Attach what counts at some sites and detach the rest; a mask of sites.

        Raises:
            KernelError: something could not be detached.
        """
        for load in self._loads:
            load.attach()
        for layer in self._layers:
            due = wanted[layer.counted_by] & ~layer.refused
            self._attach(layer, np.flatnonzero(due & ~layer.live))
            leaving = np.flatnonzero(layer.live & ~due)
            if len(leaving):
                layer.attacher.detach(leaving)
                layer.live[leaving] = False

    def gaps(self, tried: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], Refusal]]:
        """Yield which of some rows are not probed in the file, and why; each once."""
        for rows, why in self._gaps:
            found = rows & tried
            if found.any():
                rows[found] = False
                yield found, why

    def leave_if_overwritten(self) -> None:
        """Take everything off if the file was overwritten in place, for good."""
        if any(held.is_overwritten() for held in self._held.values()):
            of_sites = np.zeros(self._sites.size, np.bool_)
            for layer in self._layers:
                of_sites[layer.counted_by] = True
            rows = self._sites.rows_with(of_sites)
            self._gaps.append(
                (rows, Refusal(Reason.BINARY_REPLACED, f"{self._path}: {Fate.OVERWRITTEN.value}"))
            )
            self.close()
            self._layers, self._loads = [], []

    def close(self) -> None:
        """Begin to detach all, and close the file. May be called twice."""
        for layer in self._layers:
            layer.attacher.close()
        for load in self._loads:
            load.close()
        for held in self._held.values():
            held.close()

    def _attach(self, layer: _Layer, members: NDArray[np.intp]) -> None:
        if not len(members):
            return
        refused = layer.attacher.attach(members)
        layer.live[members] = True
        of_why: dict[Refusal, list[int]] = {}
        for member, why in refused.items():
            layer.live[member] = False
            layer.refused[member] = True
            of_why.setdefault(why, []).append(int(layer.counted_by[member]))
        for why, uncounted in of_why.items():
            sites = np.zeros(self._sites.size, np.bool_)
            sites[uncounted] = True
            self._miss(
                np.flatnonzero(self._sites.rows_with(sites)), f"where it cannot be probed: {why.detail}"
            )

    def _miss(self, rows: NDArray[np.intp], why: str) -> None:
        if len(rows):
            mask = np.zeros(len(self._sites.binary_of_row), np.bool_)
            mask[rows] = True
            refusal = Refusal(Reason.OTHER_FILE, f"{self._where}, {self._path}, {why}")
            self._gaps.append((mask, refusal))


class OtherBuilds:
    """All other builds that were noticed in the course of an injection.

    Args:
        elsewhere: examines them.
    """

    def __init__(
        self,
        probes: ProbeTable,
        sites: Sites,
        elsewhere: Elsewhere,
        attachers: Attachers,
    ) -> None:
        self._probes = probes
        self._sites = sites
        self._elsewhere = elsewhere
        self._attachers = attachers
        self._builds: list[OtherBuild] = []

    def __iter__(self) -> Iterator[OtherBuild]:
        return iter(self._builds)

    def add(self, namesake: Namesake) -> OtherBuild:
        """Examine one that is new; nothing is attached in it yet."""
        rows = np.flatnonzero(self._sites.binary_of_row == namesake.binary)
        elsewhere = self._elsewhere([self._probes[row] for row in rows.tolist()], namesake.path)
        self._builds.append(OtherBuild(namesake, rows, elsewhere, self._sites, self._attachers))
        return self._builds[-1]

    def keep_to(self, wanted: NDArray[np.bool_]) -> None:
        """Attach in all of them what counts at some sites, and detach the rest; a mask of sites."""
        for build in self._builds:
            build.keep_to(wanted)

    def close(self) -> None:
        """Begin to detach everything. May be called twice."""
        for build in self._builds:
            build.close()
