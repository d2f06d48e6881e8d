"""tracepoint, rawtracepoint and syscall: the probes that the kernel names itself."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from ebpf_bot_core import Evidence, ProbePattern, ProbeTable, Reason, Verdict
from ebpf_bot_libbpf.finding.kernel_names import BTF_ROOT, SYSCALL_MACHINES, raw_tracepoints, syscalls
from ebpf_bot_libbpf.finding.refusals import UnprobeableError, row
from ebpf_bot_libbpf.finding.suggestions import Suggestions
from ebpf_bot_libbpf.finding.tracefs import Tracefs
from ebpf_bot_libbpf.points import RawTracepointPoint, SyscallPoint, TracepointPoint

__all__ = ["RawTracepointProbes", "SyscallProbes", "TracepointProbes"]

_NO_RAW_TRACEPOINTS: Final = "syscalls"
"""The category of tracefs whose events are all made of two raw tracepoints, sys_enter and sys_exit."""


class TracepointProbes:
    """tracepoint:CATEGORY:NAME, as tracefs lists them."""

    def __init__(self, tracefs: Tracefs, suggestions: Suggestions) -> None:
        self._suggestions = suggestions
        self._tracefs = tracefs

    def find(self, pattern: ProbePattern) -> Evidence:
        """Return the rows of one pattern; see `Finder.find`."""
        try:
            events = self._tracefs.events(pattern.target)
            if not events:
                near = self._suggestions.near(pattern.target, self._tracefs.categories())
                detail = f"this kernel has no tracepoints in {pattern.target}{near}"
                return row(str(pattern), Verdict.MISSING, Reason.NOT_FOUND, detail)
        except UnprobeableError as error:
            return error.row(str(pattern))
        names = [name for _, name in events]
        found = [":".join(events[i]) for i in pattern.match_names(names)]
        return _listed(pattern, found, names, f"tracepoint in {pattern.target}", self._suggestions)

    def points(self, names: Sequence[str]) -> list[TracepointPoint | UnprobeableError]:
        """Return the numbers of probes; see `Finder.points`."""
        return [self._point(name) for name in names]

    def _point(self, name: str) -> TracepointPoint | UnprobeableError:
        _, category, event = name.split(":", 2)
        try:
            return TracepointPoint(self._tracefs.event_id(category, event))
        except UnprobeableError as error:
            return error.anew()


class RawTracepointProbes:
    """rawtracepoint:NAME, as the kernel's BTF lists them, else as tracefs does."""

    def __init__(self, tracefs: Tracefs, suggestions: Suggestions, btf_root: Path = BTF_ROOT) -> None:
        self._suggestions = suggestions
        self._tracefs = tracefs
        self._btf_root = btf_root

    def find(self, pattern: ProbePattern) -> Evidence:
        """Return the rows of one pattern; see `Finder.find`."""
        try:
            names = self._names
        except UnprobeableError as error:
            detail = f"the kernel has no BTF to list its tracepoints, and {error.detail.partition(';')[0]}"
            return row(str(pattern), Verdict.REFUSED, Reason.NO_BTF, detail)
        return _listed(
            pattern,
            [names[i] for i in pattern.match_names(names)],
            names,
            "raw tracepoint",
            self._suggestions,
        )

    def points(self, names: Sequence[str]) -> list[RawTracepointPoint]:
        """Return what attaches probes; see `Finder.points`."""
        return [RawTracepointPoint(name.partition(":")[2]) for name in names]

    @cached_property
    def _names(self) -> list[str]:
        names = raw_tracepoints(self._btf_root)
        if names:
            return names
        return sorted(
            {name for category, name in self._tracefs.events("*") if category != _NO_RAW_TRACEPOINTS}
        )


class SyscallProbes:
    """syscall:NAME, the entry of one syscall.

    Args:
        machine: as uname(2) gives it.
    """

    def __init__(self, suggestions: Suggestions, machine: str = "") -> None:
        self._suggestions = suggestions
        self._machine = machine or platform.machine()

    def find(self, pattern: ProbePattern) -> Evidence:
        """Return the rows of one pattern; see `Finder.find`."""
        if self._machine not in SYSCALL_MACHINES:
            detail = f"the numbers of the syscalls of {self._machine} machines are not known"
            return row(str(pattern), Verdict.REFUSED, Reason.NO_BACKEND, detail)
        names = list(self._numbers)
        return _listed(
            pattern, [names[i] for i in pattern.match_names(names)], names, "syscall", self._suggestions
        )

    def points(self, names: Sequence[str]) -> list[SyscallPoint | UnprobeableError]:
        """Return the numbers of syscalls; see `Finder.points`."""
        return [self._point(name.partition(":")[2]) for name in names]

    def _point(self, syscall: str) -> SyscallPoint | UnprobeableError:
        if self._machine not in SYSCALL_MACHINES or syscall not in self._numbers:
            return UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, f"there is no syscall {syscall}")
        return SyscallPoint(self._numbers[syscall])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return syscalls(self._machine)


def _listed(
    pattern: ProbePattern, found: Sequence[str], names: Sequence[str], what: str, suggestions: Suggestions
) -> Evidence:
    """Return the pending rows `KIND:FOUND`, or one that says that there is no such `what`."""
    if found:
        return Evidence.pending(ProbeTable(tuple(f"{pattern.kind}:{name}" for name in found)))
    near = suggestions.near(pattern.name, names) if pattern.is_exact else ""
    detail = f"there is no {what} called {pattern.name}{near}"
    return row(str(pattern), Verdict.MISSING, Reason.NOT_FOUND, detail)
