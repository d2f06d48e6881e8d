"""Coverage: the map of what is expected and what was seen, and the bot that keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.evidence import Evidence, ProbeEvidence
from ebpf_bot_core.ledger import Ledger
from ebpf_bot_core.probe import ProbeTable
from ebpf_bot_core.remarks import Remarks
from ebpf_bot_core.signal import SignalBatch
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["CoverageBot", "CoverageMap", "VerdictChanges"]

_OF_THE_PROBE: Final = (Verdict.PENDING, Verdict.SILENT, Verdict.FIRED)
"""Verdicts that need no sentence: one that stands beside them says something of the probe itself."""
_REASONS: Final = max(Reason) + 1
_REASON: Final = {int(reason): reason for reason in Reason}


@attrs.frozen(eq=False)
class CoverageMap:
    """What the evidence says of every expected probe."""

    evidence: Evidence

    @property
    def expected(self) -> int:
        """How many probes are expected, the excluded ones among them."""
        return len(self.evidence)

    @property
    def totals(self) -> dict[Verdict, int]:
        """How many probes stand on each rung; all rungs are there."""
        counts = np.bincount(self.evidence.columns["verdict"], minlength=len(Verdict))
        return {verdict: int(counts[verdict]) for verdict in Verdict}

    @property
    def reasons(self) -> dict[tuple[Verdict, Reason], int]:
        """How many probes stand on each rung for each reason; only those that occur."""
        columns = self.evidence.columns
        counts = np.bincount(columns["verdict"].astype(np.intp) * _REASONS + columns["reason"])
        return {
            (Verdict(which // _REASONS), _REASON[which % _REASONS]): int(counts[which])
            for which in np.flatnonzero(counts).tolist()
        }

    @property
    def ratio(self) -> float | None:
        """Fired / (expected - excluded), from 0 to 1; None where nothing could be expected to fire."""
        totals = self.totals
        possible = self.expected - totals[Verdict.EXCLUDED]
        return totals[Verdict.FIRED] / possible if possible else None

    @property
    def signals(self) -> int:
        """How often the probes fired in all."""
        return int(self.evidence.columns["hits"].sum())

    def gaps(self) -> Iterator[ProbeEvidence]:
        """Yield the rows of the probes that were expected and have not fired."""
        verdict = self.evidence.columns["verdict"]
        yield from self.evidence.take(
            np.flatnonzero((verdict != Verdict.FIRED) & (verdict != Verdict.EXCLUDED))
        )


@attrs.frozen(eq=False)
class VerdictChanges:
    """The verdicts that one step changed; iterating gives (probe, before, after).

    Attributes:
        rows: shape (n,), indexes into `probes`.
        before: shape (n,), values of `Verdict`; likewise `after`.
    """

    probes: ProbeTable
    rows: NDArray[np.intp]
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[str, Verdict, Verdict]]:
        for row, before, after in zip(
            self.rows.tolist(), self.before.tolist(), self.after.tolist(), strict=True
        ):
            yield self.probes[row], Verdict(before), Verdict(after)


class CoverageBot:
    """Holds what is expected and what is known of it, and folds in what was observed.

    Args:
        found: for each expectation, its priority and the evidence of finding its probes. A probe that several
            expectations name counts once, with the highest priority.

    Attributes:
        probes: the expected probes; all row numbers refer to this table.
        priority: shape (n,), the priority of each probe.
        attached: shape (n,), where a probe is attached now.
        rounds: shape (n,), how often each probe has been attached.
        ledger: what the probes cost their targets.
    """

    def __init__(self, found: Sequence[tuple[float, Evidence]]) -> None:
        parts = [evidence for _, evidence in found]
        if len(parts) == 1:
            self._evidence = parts[0].copy()
        else:
            self._evidence = Evidence.pending(ProbeTable.of(name for part in parts for name in part.probes))
            for part in parts:
                self._evidence = self._evidence.join(part)
        self._remarks = Remarks.taken_from(self._evidence)
        self.probes = self._evidence.probes
        size = len(self.probes)
        self.priority = np.full(size, -np.inf)
        for priority, part in found:
            rows = self.probes.positions(part.probes.names)
            self.priority[rows] = np.maximum(self.priority[rows], priority)
        self.attached = np.zeros(size, np.bool_)
        self.rounds = np.zeros(size, np.int64)
        self.ledger = Ledger(size)
        self._attached_at = np.zeros(size, np.int64)
        self._aged_at = np.zeros(size, np.int64)
        self._saved = np.zeros(size, self._evidence.columns.dtype)
        self._seen_verdicts = np.zeros(size, np.uint8)

    @property
    def evidence(self) -> Evidence:
        """What is known; it grows in place, so copy what you keep."""
        return self._evidence

    def coverage(self) -> CoverageMap:
        """Return the coverage map as of now."""
        return CoverageMap(self._evidence)

    def absorb(self, evidence: Evidence) -> None:
        """Join what a stage states of probes: outcomes of attaching, opportunities, blindness.

        What was said of a probe when it was found still holds when it is attached, unless the stage says more.
        """
        columns, details = self._evidence.columns, self._evidence.details
        said, verdict, reason = details.copy(), columns["verdict"].copy(), columns["reason"].copy()
        self._evidence.grow(evidence)
        if said:
            for row in np.flatnonzero(
                (verdict == Verdict.PENDING) & (columns["verdict"] == Verdict.SILENT)
            ).tolist():
                if row in said:
                    details.setdefault(row, said[row])
        moved = (verdict != columns["verdict"]) | (reason != columns["reason"])
        # What the budget took off, or what was attached late in a further file, may have been called meanwhile.
        may_have_run = np.isin(columns["reason"], (Reason.BUDGET, Reason.OTHER_FILE))
        silent = (columns["verdict"] == Verdict.SILENT) & ~may_have_run
        # A backend that cannot tell whether the code ran says NOT_CALLED itself; for the others it follows.
        had_its_chance = silent & ((columns["opportunities"] > 0) | (columns["reason"] == Reason.NOT_CALLED))
        columns["reason"][had_its_chance] = self._remarks.silence[had_its_chance]
        columns["reason"][silent & (columns["reason"] == Reason.NONE)] = Reason.NEVER_EXECUTED
        self._remarks.put_back(self._evidence, np.flatnonzero(moved))

    def observe(self, batch: SignalBatch) -> None:
        """Count the hits of a batch, which must use this bot's table.

        What was said of a probe itself stays with it; why it had not fired does not.
        """
        if batch.probes is not self.probes:
            raise ValueError("the batch was made with another table of probes")
        evidence = self._evidence
        evidence.signals_lost += batch.lost
        # A processor may leave records that count nothing: they are no hits, and say nothing of time.
        records = batch.records[batch.records["count"] > 0]
        if not len(records):
            return
        columns = evidence.columns
        rows, times = records["probe"], records["time"]
        np.add.at(columns["hits"], rows, records["count"])
        hit = np.unique(rows)
        first = np.full(len(self.probes), np.iinfo(np.int64).max)
        np.minimum.at(first, rows, times)
        known = columns["first_fired"][hit]
        columns["first_fired"][hit] = np.where(known == 0, first[hit], np.minimum(known, first[hit]))
        np.maximum.at(columns["last_fired"], rows, times)
        new = hit[columns["verdict"][hit] != Verdict.FIRED]
        explained = ~np.isin(columns["verdict"][new], _OF_THE_PROBE)
        for row in new[explained].tolist():
            evidence.details.pop(row, None)
        columns["verdict"][new] = Verdict.FIRED
        columns["reason"][new] = Reason.NONE
        self._remarks.put_back(evidence, new[explained])

    def leave_out(self, rows: NDArray[np.intp]) -> None:
        """Note that the budget has left probes out that have never been attached."""
        self._evidence.columns["reason"][rows] = Reason.BUDGET

    def price_out(self, rows: NDArray[np.intp], rates: NDArray[np.float64], limit: float) -> None:
        """Note that the budget takes probes off for what they cost; what is known of them stays.

        Args:
            rates: shape (len(rows),), the share of one CPU that each cost.
            limit: the share that all together may cost.
        """
        self._evidence.columns["reason"][rows] = Reason.BUDGET
        for row, rate in zip(rows.tolist(), rates.tolist(), strict=True):
            self._evidence.details[row] = (
                f"taken off, since it cost about {rate:.2%} of a CPU, and all may cost {limit:.2%}: "
                "later hits were not counted"
            )

    def account(self, cost: NDArray[np.float64], now_ns: int) -> None:
        """Note what each probe has cost so far, in CPU seconds, shape (n,); NaN says nothing."""
        self.ledger.note(cost, now_ns)
        column = self._evidence.columns["cost_ns"]
        np.maximum(column, (np.nan_to_num(cost) * 1e9).astype(np.uint64), out=column)

    def attach(self, rows: NDArray[np.intp], now_ns: int) -> None:
        """Note that probes are attached from now on (`now_ns` is any clock that does not go back)."""
        fresh = rows[~self.attached[rows]]
        self.attached[fresh] = True
        self.rounds[fresh] += 1
        self._attached_at[fresh] = now_ns
        self._aged_at[fresh] = now_ns

    def detach(self, rows: NDArray[np.intp], now_ns: int) -> None:
        """Note that probes are no longer attached; the time they were is kept as `live_ns`."""
        self.age(now_ns)
        self.attached[rows] = False

    def age(self, now_ns: int) -> None:
        """Bring `live_ns` of the attached probes up to now."""
        self._evidence.columns["live_ns"][self.attached] += now_ns - self._aged_at[self.attached]
        self._aged_at[self.attached] = now_ns

    def held_ns(self, rows: NDArray[np.intp], now_ns: int) -> NDArray[np.int64]:
        """Return how long some attached probes have been attached this time, shape (len(rows),)."""
        held: NDArray[np.int64] = now_ns - self._attached_at[rows]
        return held

    def take_changes(self, *, everything: bool = False) -> tuple[Evidence, VerdictChanges]:
        """Return what has changed since the last call: evidence to save, and verdicts to announce.

        A row has changed when its verdict, reason or hits have; how long it was live and its opportunities are taken
        along, but they alone do not make a row worth writing, unless `everything` is asked for.
        """
        columns = self._evidence.columns
        fields = ("verdict", "reason", "hits")
        changed = np.logical_or.reduce([columns[field] != self._saved[field] for field in fields])
        rows = np.flatnonzero(changed | (columns != self._saved) if everything else changed)
        moved = np.flatnonzero(columns["verdict"] != self._seen_verdicts)
        changes = VerdictChanges(
            self.probes, moved, self._seen_verdicts[moved], columns["verdict"][moved].copy()
        )
        self._seen_verdicts[moved] = columns["verdict"][moved]
        self._saved[rows] = columns[rows]
        return self._evidence.take(rows), changes
