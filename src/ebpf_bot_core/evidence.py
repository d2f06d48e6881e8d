"""Evidence: what is known of many probes, in columns, and the algebra by which it grows.

Within one run two pieces of evidence `join` to their least upper bound: commutative, associative, idempotent and
monotone, so it does not matter in which order, or how often, records arrive. Several runs `fold` into one map:
verdicts join, and what counts events is summed, each run once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.probe import ProbeTable
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["EVIDENCE_DTYPE", "Evidence", "ProbeEvidence"]

_REASONS: Final = {int(reason): reason for reason in Reason}
_RANKS: Final = np.arange(256, dtype=np.uint16)
_RANKS[list(_REASONS)] = [reason.rank for reason in _REASONS.values()]
EVIDENCE_DTYPE: Final = np.dtype(
    [
        ("verdict", "<u1"),  # Verdict
        ("reason", "<u1"),  # Reason
        ("hits", "<u8"),  # how often it fired
        ("first_fired", "<i8"),  # ns since the Unix epoch; 0: it has not fired
        ("last_fired", "<i8"),  # ns since the Unix epoch; 0: it has not fired
        ("live_ns", "<i8"),  # how long it has been attached
        ("opportunities", "<u8"),  # how often the code around it was loaded or run
        (
            "cost_ns",
            "<u8",
        ),  # CPU time that it cost its targets, estimated; 0 also where the backend cannot tell
    ]
)
"""One row a probe. `hits > 0` exactly where the verdict is FIRED."""


@attrs.frozen
class ProbeEvidence:
    """One row of evidence, for people and reports.

    Attributes:
        first_fired: ns since the Unix epoch, or None if it has not fired; likewise `last_fired`.
        live_seconds: how long it has been attached.
        cost_seconds: CPU time that it cost its targets, estimated; 0 also where the backend cannot tell.
    """

    probe: str
    verdict: Verdict
    reason: Reason
    detail: str
    hits: int
    first_fired: int | None
    last_fired: int | None
    live_seconds: float
    opportunities: int
    cost_seconds: float = 0.0


@attrs.define(eq=False)
class Evidence:
    """What is known of the probes of a table.

    Attributes:
        probes: the table; row i of `columns` speaks of `probes[i]`.
        columns: shape (len(probes),), dtype `EVIDENCE_DTYPE`.
        details: for some rows, a sentence that belongs to the verdict and reason in that row; where the verdict is
            PENDING, SILENT or FIRED, it says something of the probe itself.
        signals_lost: signals that the backend knows it lost.
    """

    probes: ProbeTable
    columns: NDArray[np.void]
    details: dict[int, str] = attrs.field(factory=dict)
    signals_lost: int = 0

    def __attrs_post_init__(self) -> None:
        if self.columns.dtype != EVIDENCE_DTYPE or self.columns.shape != (len(self.probes),):
            raise ValueError(
                f"evidence needs {len(self.probes)} rows of EVIDENCE_DTYPE, "
                f"not {self.columns.shape} of {self.columns.dtype}"
            )

    @classmethod
    def pending(cls, probes: ProbeTable) -> Evidence:
        """Return the bottom of the algebra: every probe pending, nothing known."""
        columns = np.zeros(len(probes), EVIDENCE_DTYPE)
        columns["reason"] = Reason.NOT_EXAMINED
        return cls(probes, columns)

    @classmethod
    def stating(
        cls, statements: Iterable[tuple[str, Verdict, Reason, str]], *, signals_lost: int = 0
    ) -> Evidence:
        """Return evidence from (probe, verdict, reason, detail) rows; a probe stated twice joins."""
        best: dict[str, tuple[int, int, str]] = {}
        for probe, verdict, reason, detail in statements:
            new = (int(verdict), int(reason), detail)
            if probe not in best or best[probe] < new:
                best[probe] = new
        columns = np.zeros(len(best), EVIDENCE_DTYPE)
        columns["verdict"] = [row[0] for row in best.values()]
        columns["reason"] = [row[1] for row in best.values()]
        details = {i: row[2] for i, row in enumerate(best.values()) if row[2]}
        return cls(ProbeTable.of(best), columns, details, signals_lost)

    def __len__(self) -> int:
        return len(self.probes)

    def __eq__(self, other: object) -> bool:
        """Equal when both say the same of every probe, in whatever order."""
        if not isinstance(other, Evidence):
            return NotImplemented
        if self.signals_lost != other.signals_lost or set(self.probes) != set(other.probes):
            return False
        aligned = other.aligned(self.probes)
        return bool((self.columns == aligned.columns).all()) and self.details == aligned.details

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __iter__(self) -> Iterator[ProbeEvidence]:
        details = self.details
        for i, (name, row) in enumerate(zip(self.probes, self.columns.tolist(), strict=True)):
            verdict, reason, hits, first, last, live_ns, opportunities, cost_ns = row
            yield ProbeEvidence(
                name,
                Verdict(verdict),
                _REASONS[reason],
                details.get(i, ""),
                hits,
                first or None,
                last or None,
                live_ns / 1e9,
                opportunities,
                cost_ns / 1e9,
            )

    @property
    def fired(self) -> NDArray[np.bool_]:
        """Where a probe has fired, shape (len(self),)."""
        fired: NDArray[np.bool_] = self.columns["verdict"] == Verdict.FIRED
        return fired

    def copy(self) -> Evidence:
        """Return evidence that shares nothing that can change."""
        return Evidence(self.probes, self.columns.copy(), dict(self.details), self.signals_lost)

    def take(self, rows: NDArray[np.integer]) -> Evidence:
        """Return the evidence of some rows, with a table of their own, or the same one for all rows in their order."""
        names = self.probes.names
        if np.array_equal(rows, np.arange(len(names))):
            return self.copy()
        picked = rows.tolist()
        details = {new: self.details[old] for new, old in enumerate(picked) if old in self.details}
        return Evidence(
            ProbeTable(tuple(names[i] for i in picked)), self.columns[rows], details, self.signals_lost
        )

    def aligned(self, probes: ProbeTable) -> Evidence:
        """Return the same evidence as rows of a table that contains all its probes; new rows are pending."""
        if probes is self.probes:
            return self
        at = probes.positions(self.probes.names)
        wide = Evidence.pending(probes)
        wide.columns[at] = self.columns
        wide.details = {int(at[i]): text for i, text in self.details.items()}
        wide.signals_lost = self.signals_lost
        return wide

    def join(self, other: Evidence) -> Evidence:
        """Return the least evidence that says all that either says; both are of the same run."""
        joined = self.copy()
        joined.grow(other)
        return joined

    def grow(self, other: Evidence) -> None:
        """Become what `join` would return, in place; the table stays the same if it has all of the other's probes."""
        if other.probes is not self.probes and not all(name in self.probes for name in other.probes):
            wide = self.aligned(ProbeTable.of((*self.probes, *other.probes)))
            self.probes, self.columns, self.details = wide.probes, wide.columns, wide.details
        with _rows_of(self, other) as mine:
            _climb(mine, other)
            for counted in ("hits", "last_fired", "live_ns", "opportunities", "cost_ns"):
                column = mine.columns[counted]
                np.maximum(column, other.columns[counted], out=column)
            mine.signals_lost = max(mine.signals_lost, other.signals_lost)

    @classmethod
    def fold(cls, runs: Sequence[Evidence]) -> Evidence:
        """Return one map of several runs: verdicts join, counts and times add up, each run once."""
        if len(runs) == 1:
            return runs[0]
        folded = cls.pending(ProbeTable.of(name for run in runs for name in run.probes))
        for run in runs:
            with _rows_of(folded, run) as mine:
                _climb(mine, run)
                for added in ("hits", "live_ns", "opportunities", "cost_ns"):
                    mine.columns[added] += run.columns[added]
                last = mine.columns["last_fired"]
                np.maximum(last, run.columns["last_fired"], out=last)
                mine.signals_lost += run.signals_lost
        return folded


def _standing(evidence: Evidence) -> NDArray[np.uint16]:
    """Verdict and the reason's rank as one number, so that comparing them is comparing rungs."""
    ladder: NDArray[np.uint16] = (
        evidence.columns["verdict"].astype(np.uint16) << 8 | _RANKS[evidence.columns["reason"]]
    )
    return ladder


@contextmanager
def _rows_of(whole: Evidence, other: Evidence) -> Iterator[Evidence]:
    """Give the rows of evidence that another's table has, as evidence of that table; its changes are then the whole's."""
    if other.probes is whole.probes:
        yield whole
        return
    rows = whole.probes.positions(other.probes.names)
    numbers = rows.tolist()
    said = {i: whole.details[row] for i, row in enumerate(numbers) if row in whole.details}
    part = Evidence(other.probes, whole.columns[rows], said.copy(), whole.signals_lost)
    yield part
    whole.columns[rows] = part.columns
    for i in said:
        del whole.details[numbers[i]]
    whole.details.update((numbers[i], text) for i, text in part.details.items())
    whole.signals_lost = part.signals_lost


def _climb(mine: Evidence, theirs: Evidence) -> None:
    """Join verdict, reason and detail as one total order, and the first time it fired; both of one table."""
    here, there = _standing(mine), _standing(theirs)
    raised = np.flatnonzero(there > here)
    for field in ("verdict", "reason"):
        mine.columns[field][raised] = theirs.columns[field][raised]
    # Most evidence dates few rows, so only those are touched: a step's cost must not grow with every expected probe.
    dated = np.flatnonzero(theirs.columns["first_fired"])
    before, after = mine.columns["first_fired"][dated], theirs.columns["first_fired"][dated]
    mine.columns["first_fired"][dated] = np.where(before == 0, after, np.minimum(before, after))
    _join_details(mine.details, theirs.details, there >= here, raised)


def _join_details(
    mine: dict[int, str], theirs: dict[int, str], heard: NDArray[np.bool_], raised: NDArray[np.intp]
) -> None:
    """Keep the details of the higher standing in each row, and of two equal ones the greater.

    Walks through what has risen and what `theirs` says, never through all that `mine` says.

    Args:
        heard: where the standing of theirs is no lower.
        raised: the rows where it is higher.
    """
    if mine:
        for row in raised.tolist():
            mine.pop(row, None)
    if theirs:
        said = np.fromiter(theirs, np.intp, len(theirs))
        for row in said[heard[said]].tolist():
            text = theirs[row]
            if text > mine.get(row, ""):
                mine[row] = text
