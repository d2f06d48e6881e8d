"""Finding: from patterns to the probes of the simulated host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ebpf_bot_core import Evidence, ProbePattern, Reason, Verdict
from ebpf_bot_simulated.catalogue import Catalogue
from ebpf_bot_simulated.faults import Fault, Shown
from ebpf_bot_simulated.rules import Rules

__all__ = ["find"]

_Row: TypeAlias = tuple[str, Verdict, Reason, str]


def find(patterns: Sequence[ProbePattern], catalogue: Catalogue, faults: Rules[Fault]) -> Evidence:
    """Return one row for each probe that the patterns name, or for a pattern that names none.

    An exact name is taken at its word, so that a plan for another host can be tried out; a wildcard matches what
    stands in the catalogue.
    """
    return Evidence.stating(row for pattern in patterns for row in _rows(pattern, catalogue, faults))


def _rows(pattern: ProbePattern, catalogue: Catalogue, faults: Rules[Fault]) -> Iterator[_Row]:
    targets = catalogue.targets(pattern.kind, pattern.target)
    if not targets and pattern.is_exact and not _is_bare(pattern):
        targets = [pattern.target]
    found = False
    for target in targets:
        for name in _names(pattern, target, catalogue):
            found = True
            yield _standing(str(ProbePattern(pattern.kind, target, name)), faults)
    if not found:
        missing = (Reason.BINARY_MISSING, "no such binary on the simulated host")
        if targets or not pattern.kind.in_binary:
            missing = (Reason.NOT_FOUND, "nothing on the simulated host matches")
        yield str(pattern), Verdict.MISSING, *missing


def _names(pattern: ProbePattern, target: str, catalogue: Catalogue) -> Iterator[str]:
    if pattern.is_exact:
        yield pattern.name
        return
    names = catalogue.names(pattern.kind, target)
    for i in pattern.match_names(names):
        yield names[i]


def _standing(probe: str, faults: Rules[Fault]) -> _Row:
    fault = faults.get(probe)
    if fault is None or fault.shown is not Shown.FINDING:
        return probe, Verdict.PENDING, Reason.NOT_EXAMINED, ""
    return probe, fault.verdict, fault.reason, fault.detail


def _is_bare(pattern: ProbePattern) -> bool:
    return pattern.kind.in_binary and "/" not in pattern.target
