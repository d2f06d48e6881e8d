"""Remarks: what finding says of probes that can be tried, and what stays true of them after they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["Remarks"]


@attrs.frozen(eq=False)
class Remarks:
    """What finding said of the pending rows of a table.

    Attributes:
        silence: `Reason`, uint8, shape (rows,): why a row would be silent although it had the opportunity to fire;
            `NOT_CALLED` where finding knows of nothing else.
        details: {row: sentence} about the probe itself, such as that it shares its code with another.
    """

    silence: NDArray[np.uint8]
    details: Mapping[int, str]

    @classmethod
    def taken_from(cls, found: Evidence) -> Self:
        """Take the remarks out of what was found, whose pending rows are then `NOT_EXAMINED`, in place."""
        columns = found.columns
        pending = columns["verdict"] == Verdict.PENDING
        doubted = pending & (columns["reason"] > Reason.NOT_EXAMINED)
        silence = np.where(doubted, columns["reason"], np.uint8(Reason.NOT_CALLED))
        columns["reason"][doubted] = Reason.NOT_EXAMINED
        return cls(silence, {row: text for row, text in found.details.items() if pending[row]})

    def put_back(self, evidence: Evidence, rows: NDArray[np.intp]) -> None:
        """Give those of some rows that have been attached their remarks again, where nothing more urgent is said of them.

        Args:
            rows: those whose standing has changed; a step must not walk through all that is remarked on.
        """
        verdict = evidence.columns["verdict"][rows]
        for row in rows[(verdict == Verdict.SILENT) | (verdict == Verdict.FIRED)].tolist():
            if row in self.details:
                evidence.details.setdefault(row, self.details[row])
