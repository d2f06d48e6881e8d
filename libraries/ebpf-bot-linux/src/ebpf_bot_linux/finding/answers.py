"""Answers: what many patterns name, in columns, each row with the pattern that it answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Evidence, ProbeTable, Reason, Verdict

__all__ = ["Answer", "Answers"]

Answer = tuple[int, str, Verdict, Reason, str]
"""The number of a pattern, a probe that it names or its own text, and what is known of it."""


@attrs.frozen(eq=False)
class Answers:
    """What some patterns name, in any order: a pattern has many rows, and patterns may name the same probe.

    A plan may name a million probes, so no row is an object of its own.

    Attributes:
        asked: shape (n,), the number of the pattern that each row answers.
        probes: n names.
        verdict: shape (n,), uint8; likewise `reason`.
        details: {row: sentence}.
    """

    asked: NDArray[np.intp]
    probes: Sequence[str]
    verdict: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    details: Mapping[int, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Answer]) -> Self:
        """Return answers that are given one by one."""
        listed = list(rows)
        asked, probes, verdict, reason, details = zip(*listed, strict=True) if listed else ((),) * 5
        return cls(
            np.array(asked, np.intp),
            probes,
            np.array(verdict, np.uint8),
            np.array(reason, np.uint8),
            {row: detail for row, detail in enumerate(details) if detail},
        )

    @classmethod
    def pending(cls, asked: Sequence[int], probes: Sequence[str]) -> Self:
        """Return probes that can be tried, of which nothing is to be said."""
        size = len(probes)
        verdict, reason = (
            np.full(size, Verdict.PENDING, np.uint8),
            np.full(size, Reason.NOT_EXAMINED, np.uint8),
        )
        return cls(np.array(asked, np.intp), probes, verdict, reason)

    @classmethod
    def together(cls, parts: Sequence[Answers]) -> Self:
        """Return the rows of all parts, one part after the other."""
        starts = itertools.accumulate((len(part.probes) for part in parts), initial=0)
        none = np.zeros(0, np.uint8)
        return cls(
            np.concatenate([np.zeros(0, np.intp), *(part.asked for part in parts)]),
            list(itertools.chain.from_iterable(part.probes for part in parts)),
            np.concatenate([none, *(part.verdict for part in parts)]),
            np.concatenate([none, *(part.reason for part in parts)]),
            {
                start + row: detail
                for start, part in zip(starts, parts, strict=False)
                for row, detail in part.details.items()
            },
        )

    def numbered(self, numbers: Sequence[int]) -> Answers:
        """Return the same answers to patterns of other numbers: what answered i now answers `numbers[i]`."""
        return attrs.evolve(self, asked=np.array(numbers, np.intp)[self.asked])

    def answering(self, asked: NDArray[np.intp], rows: NDArray[np.intp]) -> Answers:
        """Return some of the rows, each as often as `rows` has its number, as answers to the patterns `asked`."""
        known, numbers = self.details, rows.tolist()
        details = {at: known[row] for at, row in enumerate(numbers) if row in known} if known else {}
        probes = [self.probes[row] for row in numbers]
        return Answers(asked, probes, self.verdict[rows], self.reason[rows], details)

    def unanswered(self, count: int) -> list[int]:
        """Return which of the patterns 0 to `count` - 1 no row answers."""
        return np.flatnonzero(np.bincount(self.asked, minlength=count) == 0).tolist()

    def evidence(self) -> Evidence:
        """Return the rows in the order in which the patterns name them, each probe once.

        All describe the same host, so where two speak of the same probe they differ at most in how closely they have
        looked: the one with the higher reason stands.
        """
        order = np.argsort(self.asked, kind="stable")
        ordered = self.answering(self.asked[order], order)
        table = ProbeTable.of(ordered.probes)
        if len(table) < len(order):
            at = table.positions(ordered.probes)
            ranked = np.lexsort((ordered.reason, at))
            best = ranked[np.append(np.diff(at[ranked]) > 0, True)]
            ordered = ordered.answering(ordered.asked[best], best)
        whole = Evidence.pending(table)
        whole.columns["verdict"] = ordered.verdict
        whole.columns["reason"] = ordered.reason
        whole.details.update(ordered.details)
        return whole
