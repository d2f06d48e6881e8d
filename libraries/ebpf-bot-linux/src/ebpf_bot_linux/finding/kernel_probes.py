"""tracepoint, rawtracepoint and syscall: the probes that the kernel names itself."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from ebpf_bot_core import ProbePattern, Reason, Verdict
from ebpf_bot_linux.finding.answers import Answer, Answers
from ebpf_bot_linux.finding.kernel_names import (
    BTF_ROOT,
    SYSCALL_MACHINES,
    raw_tracepoints,
    syscall_events,
    syscalls,
)
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.finding.targets import has_wildcard
from ebpf_bot_linux.finding.tracefs import Tracefs
from ebpf_bot_linux.points import RawTracepointPoint, SyscallExitPoint, SyscallPoint, TracepointPoint

__all__ = ["RawTracepointProbes", "SyscallProbes", "TracepointProbes"]

_NO_RAW_TRACEPOINTS: Final = "syscalls"
"""The category of tracefs whose events are all made of two raw tracepoints, sys_enter and sys_exit."""


class TracepointProbes:
    """tracepoint:CATEGORY:NAME, as tracefs lists them.

    Args:
        raw: which of them are tracepoints of the same name in the kernel's code.
        machine: as uname(2) gives it.
    """

    def __init__(
        self, tracefs: Tracefs, suggestions: Suggestions, raw: RawTracepointProbes, machine: str = ""
    ) -> None:
        self._suggestions = suggestions
        self._tracefs = tracefs
        self._raw = raw
        self._machine = machine or platform.machine()

    def find(self, patterns: Sequence[ProbePattern]) -> Answers:
        """Return what patterns of this kind and one category name; see `KindFinder.find`."""
        target = patterns[0].target
        try:
            events = self._tracefs.events(target)
            if not events:
                near = self._suggestions.near(target, self._tracefs.categories())
                detail = f"this kernel has no tracepoints in {target}{near}"
                none = UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, detail)
                return Answers.of(none.answers(patterns))
        except UnprobeableError as error:
            return Answers.of(error.answers(patterns))
        names = [name for _, name in events]
        categories = [category for category, _ in events]
        return _listed(patterns, names, f"tracepoint in {target}", self._suggestions, categories)

    def points(self, names: Sequence[str]) -> list[TracepointPoint | UnprobeableError]:
        """Return what attaches probes; see `Finder.points`.

        A tracepoint can be counted below the perf event that tracefs names after it, where that is known to be the same:
        perf events cost more a hit, and the kernel closes them one after the other, 30 ms each.
        """
        return [self._point(name) for name in names]

    def _point(self, name: str) -> TracepointPoint | UnprobeableError:
        _, category, event = name.split(":", 2)
        try:
            number = self._tracefs.event_id(category, event)
        except UnprobeableError as error:
            return error.anew()
        if category == _NO_RAW_TRACEPOINTS:
            return TracepointPoint(number, self._syscall(event))
        if event in self._raw.described and self._categories_of[event] == 1:
            return TracepointPoint(number, RawTracepointPoint(event))
        return TracepointPoint(number)

    def _syscall(self, event: str) -> SyscallPoint | SyscallExitPoint | None:
        """Return the entry or return of a syscall, whose event is named after what the kernel's source calls it."""
        if event.startswith("sys_enter_") and (number := self._numbers.get(event[10:])) is not None:
            return SyscallPoint(number)
        if event.startswith("sys_exit_") and (number := self._numbers.get(event[9:])) is not None:
            return SyscallExitPoint(number)
        return None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return syscall_events(self._machine) if self._machine in SYSCALL_MACHINES else {}

    @cached_property
    def _categories_of(self) -> Counter[str]:
        """In how many categories an event of a name is: users can make events, and name them as they like."""
        return Counter(name for _, name in self._tracefs.events("*"))


class RawTracepointProbes:
    """rawtracepoint:NAME, as the kernel's BTF lists them, else as tracefs does."""

    def __init__(self, tracefs: Tracefs, suggestions: Suggestions, btf_root: Path = BTF_ROOT) -> None:
        self._suggestions = suggestions
        self._tracefs = tracefs
        self._btf_root = btf_root

    def find(self, patterns: Sequence[ProbePattern]) -> Answers:
        """Return what patterns of this kind name; see `KindFinder.find`."""
        try:
            names = self._names
        except UnprobeableError as error:
            detail = f"the kernel has no BTF to list its tracepoints, and {error.detail.partition(';')[0]}"
            no_btf = UnprobeableError(Verdict.REFUSED, Reason.NO_BTF, detail)
            return Answers.of(no_btf.answers(patterns))
        return _listed(patterns, names, "raw tracepoint", self._suggestions)

    def points(self, names: Sequence[str]) -> list[RawTracepointPoint]:
        """Return what attaches probes; see `Finder.points`."""
        return [RawTracepointPoint(name.partition(":")[2]) for name in names]

    @cached_property
    def described(self) -> frozenset[str]:
        """The names that the kernel's BTF has; empty if it has no BTF."""
        return frozenset(raw_tracepoints(self._btf_root))

    @cached_property
    def _names(self) -> list[str]:
        if self.described:
            return sorted(self.described)
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

    def find(self, patterns: Sequence[ProbePattern]) -> Answers:
        """Return what patterns of this kind name; see `KindFinder.find`."""
        if self._machine not in SYSCALL_MACHINES:
            detail = f"the numbers of the syscalls of {self._machine} machines are not known"
            unknown = UnprobeableError(Verdict.REFUSED, Reason.NO_BACKEND, detail)
            return Answers.of(unknown.answers(patterns))
        return _listed(patterns, list(self._numbers), "syscall", self._suggestions)

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
    patterns: Sequence[ProbePattern],
    names: Sequence[str],
    what: str,
    suggestions: Suggestions,
    categories: Sequence[str] = (),
) -> Answers:
    """Return the pending rows `KIND:NAME`, and for each pattern that names none that there is no such `what`.

    Args:
        categories: those of the names, where the names of probes have them: `KIND:CATEGORY:NAME`.
    """
    prefix = [f"{patterns[0].kind}:{category}:" for category in categories] or [f"{patterns[0].kind}:"] * len(
        names
    )
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)

    def said() -> Iterator[Answer]:
        for number, pattern in enumerate(patterns):
            exact = not has_wildcard(pattern.name)
            found = rows.get(pattern.name, []) if exact else pattern.match_names(names)
            for row in found:
                yield number, prefix[row] + names[row], Verdict.PENDING, Reason.NOT_EXAMINED, ""
            if not found:
                near = suggestions.near(pattern.name, names) if pattern.is_exact else ""
                detail = f"there is no {what} called {pattern.name}{near}"
                yield number, str(pattern), Verdict.MISSING, Reason.NOT_FOUND, detail

    return Answers.of(said())
