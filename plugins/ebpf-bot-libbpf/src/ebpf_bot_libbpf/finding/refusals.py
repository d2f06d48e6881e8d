"""What the finder says of a pattern that names no probe: an error inside, a row of evidence outside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ebpf_bot_core import BackendError, Evidence, ProbeTable, Reason, Verdict

__all__ = ["UnprobeableError", "row", "union"]


class UnprobeableError(BackendError):
    """A target or pattern that gives no probes, for a reason that is a property of the host.

    It never leaves the finder's `find`: there it becomes a row of this verdict and reason.

    Args:
        detail: a sentence for the row.
    """

    def __init__(self, verdict: Verdict, reason: Reason, detail: str) -> None:
        super().__init__(detail, hint=reason.hint)
        self.verdict = verdict
        self.reason = reason
        self.detail = detail

    def anew(self) -> UnprobeableError:
        """Return the same refusal without the traceback, which holds on to all that was read of a file."""
        return UnprobeableError(self.verdict, self.reason, self.detail)

    def row(self, probe: str) -> Evidence:
        """Return the one row that says so under the name `probe`."""
        return row(probe, self.verdict, self.reason, self.detail)


def row(probe: str, verdict: Verdict, reason: Reason, detail: str) -> Evidence:
    """Return evidence of one probe, or of one pattern under its own text."""
    return Evidence.stating([(probe, verdict, reason, detail)])


def union(parts: Sequence[Evidence]) -> Evidence:
    """Return the rows of all parts, each probe once, in the order in which they are first named.

    Parts of one `find` describe the same host, so where two state the same probe they differ at most in how closely
    they have looked; the one with the higher reason stands. Takes time in the number of rows, where joining part by
    part would take its square.
    """
    if len(parts) == 1:
        return parts[0]
    whole = Evidence.pending(ProbeTable.of(itertools.chain.from_iterable(part.probes for part in parts)))
    for part in parts:
        at = whole.probes.positions(part.probes.names)
        more = part.columns["reason"] >= whole.columns["reason"][at]
        whole.columns[at[more]] = part.columns[more]
        whole.details.update((int(at[i]), detail) for i, detail in part.details.items() if more[i])
    return whole
