"""What is known of a function beside its symbols: what the compiler made of it, and where it was inlined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import ProbeKind, Reason, Verdict
from ebpf_bot_linux.finding.function_remarks import listed, remark_on, remarks_on
from ebpf_bot_linux.finding.function_table import FunctionTable
from ebpf_bot_linux.finding.inlining import Inlined
from ebpf_bot_linux.finding.standings import Remarks, Standing

__all__ = ["FunctionInsight"]


class FunctionInsight:
    """Knows copies and parts by their names, and inlined functions by the debug information; an `Insight`.

    Debug information takes long to read, so only functions that are asked for by their very names are sought in it.
    """

    otherwise = "; a static function may have been inlined everywhere, or left out"

    def remarks(
        self, content: FunctionTable, kind: ProbeKind, rows: NDArray[np.intp], exact: NDArray[np.bool_]
    ) -> Remarks:
        """Return what is to be said of some functions, by their numbers among `rows`."""
        remarks = remarks_on(content, kind, rows)
        for number in np.flatnonzero(exact & (content.standing[rows] == Standing.CODE)).tolist():
            inlined = content.inlining.of(content.names[rows[number]])
            if inlined is not None and inlined.places:
                said = f"also inlined {_where(inlined)}: those runs are not seen"
                remarks.add(number, said, Reason.INLINED)
        return remarks

    def absent(self, content: FunctionTable, name: str) -> tuple[Verdict, Reason, str] | None:
        """Return what to say of a function without a symbol."""
        made = remark_on(content, name)
        if made is not None:
            return Verdict.PENDING, *made
        inlined = content.inlining.of(name)
        if inlined is None or inlined.stands_alone:
            return None
        if not inlined.places:
            return (
                Verdict.MISSING,
                Reason.INLINED,
                "the compiler left nothing of it: no code calls or contains it",
            )
        return Verdict.MISSING, Reason.INLINED, f"it is nowhere but inlined {_where(inlined)}"


def _where(inlined: Inlined) -> str:
    times = f"at {inlined.places} places" if inlined.places > 1 else "once"
    return f"{times}, in {listed(inlined.callers)}" if inlined.callers else times
