"""What is known of probes beside their hits: how often they had a chance to fire, and which cannot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Evidence, ProbeTable, Verdict
from ebpf_bot_linux.attaching.attacher import Refusal
from ebpf_bot_linux.attaching.scope import CommandScope
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import Sites

__all__ = ["Inspection"]


class Inspection:
    """Says for the rows of a table what is known of those that are, or were, attached."""

    def __init__(
        self, probes: ProbeTable, sites: Sites, programs: Programs, scope: CommandScope | None
    ) -> None:
        self._probes = probes
        self._sites = sites
        self._programs = programs
        self._scope = scope
        self._blind: dict[int, Refusal] = {}
        self._late: dict[int, Refusal] = {}
        self._ran = np.zeros(len(sites.binaries), np.uint64)

    def blind(self, rows: NDArray[np.bool_], why: Refusal) -> None:
        """Note that some rows cannot fire, or not wherever they should."""
        self._blind.update(dict.fromkeys(np.flatnonzero(rows).tolist(), why))

    def late(self, rows: NDArray[np.bool_], why: Refusal) -> None:
        """Note that some rows were attached late in a part of what they stand for, so silence there means little."""
        self._late.update(dict.fromkeys(np.flatnonzero(rows).tolist(), why))

    def ran(self, binary: int) -> None:
        """Note that a binary, by its number, was seen to run, whenever it was loaded."""
        self._ran[binary] = 1

    def evidence(self, tried: NDArray[np.bool_]) -> Evidence:
        """Return what is known of the whole table; `tried` masks the rows that are or were attached."""
        evidence = Evidence.pending(self._probes)
        evidence.columns["opportunities"] = np.where(tried, self._opportunities(), 0)
        for verdict, rows in (Verdict.SILENT, self._late), (Verdict.BLIND, self._blind):
            for row, why in rows.items():
                evidence.columns["verdict"][row] = verdict
                evidence.columns["reason"][row] = why.reason
                evidence.details[row] = why.detail
        return evidence

    def _opportunities(self) -> NDArray[np.uint64]:
        """How often each row could have fired, shape (rows,).

        For code in a binary, how often its binary was loaded. A process that had loaded it before is seen only by its hits,
        or by chance, which prove one. For an event of the kernel, how often a covered process executed a program,
        since each goes through the kernel all the time; where the whole host is covered, once.
        """
        sites, counts = self._sites, self._programs.counters.snapshot()[: self._sites.size]
        of_binary = sites.binary_of_row
        in_binary = of_binary >= 0
        ran = self._ran.copy()
        ran[of_binary[sites.rows_with(counts > 0) & in_binary]] = 1
        loads = counts[sites.first_load_site :]
        chances = np.full(len(of_binary), self._scope.executions if self._scope else 1, np.uint64)
        chances[in_binary] = np.maximum(loads, ran)[of_binary[in_binary]]
        return chances
