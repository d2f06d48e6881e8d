"""software:EVENT:PERIOD, the events that the kernel counts by itself, sampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from ebpf_bot_core import ProbeKind, ProbePattern, Reason, Verdict
from ebpf_bot_linux.finding.answers import Answers
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.points import SoftwarePoint

__all__ = ["SoftwareProbes"]


@attrs.frozen
class _Event:
    """A software event.

    Attributes:
        number: PERF_COUNT_SW_* of linux/perf_event.h.
        period: where none is given; bpftrace's, but for task-clock, of which it would take a sample each nanosecond.
        alias: another name that bpftrace knows it by.
    """

    number: int
    period: int = 1
    alias: str = ""


_EVENTS: Final = {
    "alignment-faults": _Event(7),
    "context-switches": _Event(3, 1000, "cs"),
    "cpu-clock": _Event(0, 1_000_000, "cpu"),
    "cpu-migrations": _Event(4),
    "emulation-faults": _Event(8),
    "major-faults": _Event(6),
    "minor-faults": _Event(5, 100),
    "page-faults": _Event(2, 100, "faults"),
    "task-clock": _Event(1, 1_000_000),
}
_ALIASES: Final = {event.alias: name for name, event in _EVENTS.items() if event.alias}
_LARGEST: Final = (1 << 63) - 1
"""perf_event_open(2) refuses periods with the highest bit set."""


class SoftwareProbes:
    """software:EVENT:PERIOD; every kernel with perf events has them all. The canonical name has the period always."""

    def __init__(self, suggestions: Suggestions) -> None:
        self._suggestions = suggestions

    def find(self, patterns: Sequence[ProbePattern]) -> Answers:
        """Return what patterns of this kind name; see `KindFinder.find`."""
        return Answers.of(
            (number, *said) for number, pattern in enumerate(patterns) for said in self._said(pattern)
        )

    def _said(self, pattern: ProbePattern) -> Iterator[tuple[str, Verdict, Reason, str]]:
        """Yield what is said of the probes that a pattern names, or of the pattern."""
        event, colon, period = pattern.name.partition(":")
        if colon and not _is_period(period):
            detail = f"{period!r} is no period: write how many events a sample stands for"
            yield str(pattern), Verdict.MISSING, Reason.NOT_FOUND, detail
            return
        names = list(_EVENTS)
        matching = ProbePattern(ProbeKind.SOFTWARE, "", _ALIASES.get(event, event)).match_names(names)
        if not matching:
            near = self._suggestions.near(event, [*names, *_ALIASES])
            detail = f"there is no software event called {event}{near}"
            yield str(pattern), Verdict.MISSING, Reason.NOT_FOUND, detail
            return
        for name in (names[i] for i in matching):
            each = int(period) if colon else _EVENTS[name].period
            yield f"{pattern.kind}:{name}:{each}", Verdict.PENDING, Reason.NOT_EXAMINED, ""

    def points(self, names: Sequence[str]) -> list[SoftwarePoint | UnprobeableError]:
        """Return what attaches probes; see `Finder.points`."""
        return [self._point(name) for name in names]

    def _point(self, name: str) -> SoftwarePoint | UnprobeableError:
        _, _, rest = name.partition(":")
        event, _, period = rest.partition(":")
        if event not in _EVENTS or not _is_period(period):
            return UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, f"there is no software event {rest}")
        return SoftwarePoint(_EVENTS[event].number, int(period))


def _is_period(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text[:20]) > 0 and int(text[:20]) <= _LARGEST
