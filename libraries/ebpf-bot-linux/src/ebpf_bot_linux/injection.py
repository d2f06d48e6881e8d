"""The injection: which rows of the table are attached."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import BackendError, Evidence, ProbeTable, Reason, Verdict
from ebpf_bot_linux.attaching.attacher import Attacher, Refusal
from ebpf_bot_linux.attaching.choosing import Attachers
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.attaching.fates import Fates
from ebpf_bot_linux.attaching.handover import Handover
from ebpf_bot_linux.attaching.held_binary import Fate, HeldBinary
from ebpf_bot_linux.attaching.namesakes import Namesakes
from ebpf_bot_linux.attaching.other_builds import Elsewhere, OtherBuilds
from ebpf_bot_linux.attaching.scope import CommandScope
from ebpf_bot_linux.costing.costs import Costs
from ebpf_bot_linux.features import Features
from ebpf_bot_linux.inspection import Inspection
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import CodeKind, SiteGroup, Sites
from ebpf_bot_linux.source import Source

__all__ = ["LinuxInjection"]


class LinuxInjection:
    """Probes of one table in this kernel, an `Injection`.

    Links, maps and programs live by their descriptors alone, so the kernel drops them when this process ends, however
    it ends. A process that is forked from this one and executes nothing shares them until it ends too.

    Args:
        sites: where the rows are attached.
        programs: loaded for these sites; the injection closes them, also where it cannot be made.
        source: reads what they have seen; likewise.
        covers_command: whether only the command that `follow` is told of counts.
        keep: whether every hit counts.
        features: what the kernel can do, for choosing how sites are attached.
        elsewhere: examines the files that are run in the place of expected ones.

    Attributes:
        source: what a receiver reads.
        closed: whether there is nothing to read any more.

    Raises:
        KernelError: the command could not be followed.
    """

    def __init__(
        self,
        probes: ProbeTable,
        sites: Sites,
        programs: Programs,
        source: Source,
        *,
        covers_command: bool,
        keep: bool,
        features: Features,
        elsewhere: Elsewhere,
    ) -> None:
        self.probes = probes
        self.closed = False
        self.source = source
        self._sites = sites
        self._programs = programs
        self._keep = keep
        self._closer = Closer()
        self._costs = Costs(sites, programs, self._closer)
        handover = Handover(programs, self._closer, exact=keep)
        self._attachers = Attachers(programs, self._closer, features, handover, self._costs)
        self._attached = np.zeros(len(probes), np.bool_)
        self._tried = np.zeros(len(probes), np.bool_)
        self._live = np.zeros(sites.size, np.bool_)
        self._refused: dict[int, Refusal] = {}
        self._binaries = {binary: HeldBinary(binary) for binary in sites.binaries}
        self._fates = Fates(list(self._binaries.values()))
        self._loads = [
            self._attachers.of_loads(sites.first_load_site + i, binary)
            for i, binary in enumerate(self._binaries.values())
        ]
        self._groups = [(group, self._attacher(group)) for group in sites.groups]
        self._others = OtherBuilds(probes, sites, elsewhere, self._attachers)
        self._scope: CommandScope | None = None
        if covers_command:
            try:
                self._scope = CommandScope(programs, self._closer)
            except BackendError:
                self.close()
                raise
        self._namesakes = Namesakes(sites.binaries, self._scope)
        self._inspection = Inspection(probes, sites, programs, self._scope)

    def attach(self, rows: NDArray[np.intp]) -> Evidence:
        """Attach many probes at once; all places in one binary cost about as much as one."""
        self._refuse_if_closed()
        self._attached[rows] = True
        for load in self._loads:
            load.attach()
        wanted = self._sites.of_rows(self._attached) & ~self._live
        wanted[list(self._refused)] = False
        for group, attacher in self._groups:
            members = np.flatnonzero(wanted[group.first : group.end])
            if len(members):
                refused = attacher.attach(members)
                self._live[members + group.first] = True
                self._live[[member + group.first for member in refused]] = False
                self._refused |= {member + group.first: why for member, why in refused.items()}
        self._attached &= self._sites.rows_with(self._live)
        self._tried |= self._attached
        self._others.keep_to(self._sites.of_rows(self._attached))
        return self._outcome(rows)

    def detach(self, rows: NDArray[np.intp]) -> None:
        """Detach many probes at once.

        Those that have fired are out of it at once. Where others are among them, or every hit counts, this takes
        until the kernel has let go of them, 30-60 ms, so that none is counted after it. Where every hit counts it
        takes as long again for each link that holds both some that go and some that stay.
        """
        self._refuse_if_closed()
        staying = self._attached.copy()
        staying[rows] = False
        self._look_after_binaries(at_once=True)
        leaving = self._live & ~self._sites.of_rows(staying)
        self._take_off(leaving)
        self._attached = staying
        self._others.keep_to(self._sites.of_rows(staying))
        if self._keep or not self._programs.counters.snapshot()[: self._sites.size][leaving].all():
            self._closer.wait()

    def inspect(self) -> Evidence:
        """Say what is known of the whole table beside hits."""
        self._refuse_if_closed()
        self._look_after_binaries()
        return self._inspection.evidence(self._tried)

    def cost(self) -> NDArray[np.float64]:
        """Return the CPU seconds that each probe has cost so far: its hits, times what one costs on this machine."""
        self._refuse_if_closed()
        return self._costs.of_rows()

    def follow(self) -> AbstractContextManager[None]:
        """Cover the child that the calling thread starts within the context, from its exec on."""
        self._refuse_if_closed()
        return self._scope.follow() if self._scope else nullcontext()

    def close(self) -> None:
        """Detach everything, wait until the kernel has done so, and give back all descriptors and threads."""
        for _, attacher in self._groups:
            attacher.close()
        for load in self._loads:
            load.close()
        self._others.close()
        if self._scope:
            self._scope.close()
        self._closer.shut_down()
        for binary in self._binaries.values():
            binary.close()
        self.source.close()
        self._programs.close()
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise BackendError("the injection is closed")

    def _attacher(self, group: SiteGroup) -> Attacher:
        if isinstance(group.kind, CodeKind):
            counted_by = np.arange(group.first, group.end)
            return self._attachers.of_binary(group, group.kind, counted_by, self._binaries[group.kind.binary])
        return self._attachers.of_kernel(group, group.kind.point)

    def _outcome(self, rows: NDArray[np.intp]) -> Evidence:
        """Say of each row whether it is attached; else why the first of its sites is not."""
        attached = self._attached[rows]
        outcome = Evidence.pending(ProbeTable(tuple(self.probes[row] for row in rows.tolist())))
        outcome.columns["verdict"] = np.where(attached, Verdict.SILENT, Verdict.REFUSED)
        outcome.columns["reason"] = Reason.NONE
        outcome.details = self._where(rows, attached)
        for i in np.flatnonzero(~attached).tolist():
            refusal = self._refusal(int(rows[i]))
            outcome.columns["reason"][i] = refusal.reason
            outcome.details[i] = refusal.detail
        return outcome

    def _where(self, rows: NDArray[np.intp], attached: NDArray[np.bool_]) -> dict[int, str]:
        """Say of those attached rows that are probed behind their entries how far."""
        behind = self._sites.behind_entry
        if not behind:
            return {}
        moved = ((i, behind.get(row, 0)) for i, row in enumerate(rows.tolist()))
        return {i: _behind_entry(distance) for i, distance in moved if distance and attached[i]}

    def _refusal(self, row: int) -> Refusal:
        start, end = np.searchsorted(self._sites.pair_row, [row, row + 1])
        if start == end and self._sites.binary_of_row[row] >= 0:
            return Refusal(Reason.UNSUPPORTED_INSTRUCTION, "its first instruction cannot be probed")
        if start == end:
            return Refusal(Reason.NOT_FOUND, "it was not found on this host")
        return self._refused[int(self._sites.pair_site[start])]

    def _look_after_binaries(self, *, at_once: bool = False) -> None:
        for number, fate in self._fates.changes(at_once=at_once).items():
            within = self._sites.binary_of_row == number
            self._inspection.blind(self._attached & within, Refusal(Reason.BINARY_REPLACED, fate.value))
            if fate is Fate.OVERWRITTEN:
                self._take_off(self._live & self._sites.of_rows(within))
                self._loads[number].close()
        self._look_for_others(at_once=at_once)

    def _look_for_others(self, *, at_once: bool) -> None:
        for namesake in self._namesakes.found(at_once=at_once):
            build = self._others.add(namesake)
            build.keep_to(self._sites.of_rows(self._attached))
            self._inspection.ran(build.binary)
            self._inspection.late(self._tried & (self._sites.binary_of_row == build.binary), build.late)
        for build in self._others:
            build.leave_if_overwritten()
            for rows, why in build.gaps(self._tried):
                self._inspection.blind(rows, why)

    def _take_off(self, sites: NDArray[np.bool_]) -> None:
        for group, attacher in self._groups:
            members = np.flatnonzero(sites[group.first : group.end])
            if len(members):
                attacher.detach(members)
                self._live[members + group.first] = False


@cache
def _behind_entry(distance: int) -> str:
    """Return the sentence, one object for all rows that share it."""
    return f"probed {distance} bytes behind its entry, at an instruction that the kernel emulates, so that a hit costs less"
