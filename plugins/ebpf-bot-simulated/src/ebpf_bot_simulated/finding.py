"""Finding: from patterns to the probes of the simulated host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ebpf_bot_core import Evidence, ProbePattern, Reason, Verdict
from ebpf_bot_simulated.catalogue import Catalogue
from ebpf_bot_simulated.faults import FAULTS, Fault, Shown
from ebpf_bot_simulated.rules import Rules

__all__ = ["find"]

_Row: TypeAlias = tuple[str, Verdict, Reason, str]


def find(patterns: Sequence[ProbePattern], catalogue: Catalogue, faults: Rules[Fault]) -> Evidence:
    """Return one row for each probe that the patterns name, or for a pattern that names none.

    An exact name is taken at its word, so that a plan for another host can be tried out; a wildcard matches what
    stands in the catalogue. What has the fault of being missing is not there to be matched.
    """
    return Evidence.stating(row for pattern in patterns for row in _rows(pattern, catalogue, faults))


def _rows(pattern: ProbePattern, catalogue: Catalogue, faults: Rules[Fault]) -> Iterator[_Row]:
    targets = catalogue.targets(pattern.kind, pattern.target)
    if not targets and pattern.is_exact and not _is_bare(pattern):
        targets = [pattern.target]
    absent = _nothing_matches(pattern, known=bool(targets))
    found = False
    for target in targets:
        for name in _names(pattern, target, catalogue):
            probe = str(ProbePattern(pattern.kind, target, name))
            fault = faults.get(probe)
            if fault is not None and fault.verdict is Verdict.MISSING:
                absent = fault
                continue
            found = True
            yield _standing(probe, fault)
    if not found:
        yield str(pattern), absent.verdict, absent.reason, absent.detail


def _names(pattern: ProbePattern, target: str, catalogue: Catalogue) -> Iterator[str]:
    if pattern.is_exact:
        yield pattern.name
        return
    names = catalogue.names(pattern.kind, target)
    for i in pattern.match_names(names):
        yield names[i]


def _standing(probe: str, fault: Fault | None) -> _Row:
    if fault is None or fault.shown is not Shown.FINDING:
        return probe, Verdict.PENDING, Reason.NOT_EXAMINED, ""
    return probe, fault.verdict, fault.reason, fault.detail


def _nothing_matches(pattern: ProbePattern, *, known: bool) -> Fault:
    reason = Reason.NOT_FOUND if known or not pattern.kind.in_binary else Reason.BINARY_MISSING
    return FAULTS[reason.code]


def _is_bare(pattern: ProbePattern) -> bool:
    return pattern.kind.in_binary and "/" not in pattern.target
