"""What the finder says of a pattern that names no probe: an error inside, an answer outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ebpf_bot_core import BackendError, ProbePattern, Reason, Verdict
from ebpf_bot_linux.finding.answers import Answer

__all__ = ["UnprobeableError"]


class UnprobeableError(BackendError):
    """A target or pattern that gives no probes, for a reason that is a property of the host.

    It never leaves the finder's `find`: there it becomes an answer of this verdict and reason.

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

    def answers(self, patterns: Iterable[ProbePattern]) -> Iterator[Answer]:
        """Yield the answer that says so of each of some patterns, numbered from 0, under its own text."""
        for number, pattern in enumerate(patterns):
            yield number, str(pattern), self.verdict, self.reason, self.detail
