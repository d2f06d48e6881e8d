"""kprobe, kretprobe, fentry and fexit: the probes on the kernel's functions."""

from __future__ import annotations

import abc
import errno
from collections.abc import Collection, Container, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from ebpf_bot_core import ProbeKind, ProbePattern, Reason, Verdict
from ebpf_bot_linux.features import try_fentry, try_kprobe_multi, try_program
from ebpf_bot_linux.finding import btf
from ebpf_bot_linux.finding.answers import Answers
from ebpf_bot_linux.finding.kernel_functions import KernelFunctions
from ebpf_bot_linux.finding.kernel_names import BTF_ROOT
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.kernel.kernel_error import ENOTSUPP
from ebpf_bot_linux.kernel.perf_events import has_device
from ebpf_bot_linux.points import FentryPoint, KprobePoint
from ebpf_bot_linux.privileges import Privileges

__all__ = ["FentryProbes", "KprobeProbes"]

_Said = tuple[str, Verdict, Reason, str]
"""A probe, or the text of a pattern that names none, and what is known of it."""

_NOT_THERE: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, ENOTSUPP)


class _FunctionProbes(abc.ABC):
    def __init__(self, functions: KernelFunctions, suggestions: Suggestions) -> None:
        self._functions = functions
        self._suggestions = suggestions

    def find(self, patterns: Sequence[ProbePattern]) -> Answers:
        """Return what patterns of one kind name; see `KindFinder.find`."""
        try:
            names = sorted(self._names())
        except UnprobeableError as error:
            return Answers.of(error.answers(patterns))
        known = frozenset(names)
        return Answers.of(
            (number, *said)
            for number, pattern in enumerate(patterns)
            for said in self._said(pattern, names, known)
        )

    def points(self, names: Sequence[str]) -> list[KprobePoint | FentryPoint | UnprobeableError]:
        """Return what attaches probes; see `Finder.points`."""
        return [self._point_or_error(name) for name in names]

    def _point_or_error(self, name: str) -> KprobePoint | FentryPoint | UnprobeableError:
        try:
            return self._point(name)
        except UnprobeableError as error:
            return error.anew()

    def _said(self, pattern: ProbePattern, names: Sequence[str], known: Container[str]) -> Iterator[_Said]:
        """Yield what is said of the functions that a pattern names, or of the pattern."""
        if pattern.is_exact:
            found = [pattern.name] if pattern.name in known else []
        else:
            found = [names[i] for i in pattern.match_names(names)]
        for name in found:
            yield self._stated(f"{pattern.kind}:{name}", name)
        if not found:
            yield str(pattern), *self._none(pattern, names)

    def _stated(self, probe: str, name: str) -> _Said:
        refusal = self._refusal(name)
        if refusal is None:
            return probe, Verdict.PENDING, Reason.NOT_EXAMINED, ""
        return probe, refusal.verdict, refusal.reason, refusal.detail

    def _none(self, pattern: ProbePattern, names: Sequence[str]) -> tuple[Verdict, Reason, str]:
        if not pattern.is_exact:
            detail = f"no function of this kernel that can be traced is called {pattern.name}"
            return Verdict.MISSING, Reason.NOT_FOUND, detail
        if self._functions.addresses(pattern.name):
            detail = "the kernel keeps it from being traced (notrace, or code that tracing itself needs)"
            return Verdict.REFUSED, Reason.ATTACH_FAILED, detail
        why = self._functions.why_not(pattern.name) or self._suggestions.near(pattern.name, names)
        return Verdict.MISSING, Reason.NOT_FOUND, f"this kernel has no function {pattern.name}{why}"

    @abc.abstractmethod
    def _point(self, name: str) -> KprobePoint | FentryPoint:
        """Return what attaches one probe; UnprobeableError if there is no such function or it cannot be told."""

    @abc.abstractmethod
    def _names(self) -> Collection[str]:
        """Return the names of the functions there are."""

    @abc.abstractmethod
    def _refusal(self, name: str) -> UnprobeableError | None:
        """Return why one of them cannot be probed."""


class KprobeProbes(_FunctionProbes):
    """kprobe:FUNCTION and kretprobe:FUNCTION, as tracefs lists the functions, else as /proc/kallsyms does.

    All names of one function are one place: a link that had it twice would tell only one of them of a hit.
    """

    def _point(self, name: str) -> KprobePoint:
        kind, _, function = name.partition(":")
        function = self._functions.aliases.get(function, function)
        if function not in self._functions.traceable:
            raise UnprobeableError(
                Verdict.MISSING, Reason.NOT_FOUND, f"this kernel has no function {function}"
            )
        refusal = self._refusal(function)
        if refusal is not None:
            raise refusal
        several = self._functions.traceable[function] > 1
        places = self._functions.addresses(function) if several else (function,)
        return KprobePoint(places, kind == ProbeKind.KRETPROBE)

    def _names(self) -> Collection[str]:
        return self._functions.traceable.keys() | self._functions.aliases.keys()

    def _refusal(self, name: str) -> UnprobeableError | None:
        if self.unsupported is not None:
            return self.unsupported
        if self._functions.traceable[name] > 1 and not all(self._functions.addresses(name) or (0,)):
            detail = "several functions have this name, and their addresses are hidden from us (kernel.kptr_restrict)"
            return UnprobeableError(Verdict.REFUSED, Reason.PERMISSION, detail)
        return None

    @cached_property
    def unsupported(self) -> UnprobeableError | None:
        """Why this kernel has no kprobes: neither the perf events nor the link. None also where we may not ask."""
        if has_device("kprobe"):
            return None
        error = try_kprobe_multi()
        if error is None or error.errno not in _NOT_THERE:
            return None
        detail = "this kernel has neither kprobes nor fprobes (CONFIG_KPROBE_EVENTS, CONFIG_FPROBE)"
        return UnprobeableError(Verdict.REFUSED, Reason.KERNEL_CONFIG, detail)


class FentryProbes(_FunctionProbes):
    """fentry:FUNCTION and fexit:FUNCTION, the functions that the kernel's BTF describes; those of modules are not served.

    Whether the kernel takes such programs is found by loading one, which attaches nothing.
    """

    def __init__(
        self, functions: KernelFunctions, suggestions: Suggestions, btf_root: Path = BTF_ROOT
    ) -> None:
        super().__init__(functions, suggestions)
        self._file = btf_root / "vmlinux"

    def _none(self, pattern: ProbePattern, names: Sequence[str]) -> tuple[Verdict, Reason, str]:
        if pattern.name in self._functions.traceable and pattern.name not in self._ids:
            detail = "BTF does not describe it: it is a module's, or the compiler has changed its arguments; kprobe: needs no BTF"
            return Verdict.REFUSED, Reason.NO_BTF, detail
        return super()._none(pattern, names)

    def _point(self, name: str) -> FentryPoint:
        kind, _, function = name.partition(":")
        if function not in self._ids:
            raise UnprobeableError(
                Verdict.MISSING, Reason.NOT_FOUND, f"this kernel's BTF has no function {function}"
            )
        refusal = self._refusal(function)
        if refusal is not None:
            raise refusal
        return FentryPoint(self._ids[function], kind == ProbeKind.FEXIT)

    def _names(self) -> Collection[str]:
        if not self._ids:
            detail = "the kernel has no BTF to say what its functions are; kprobe: needs none"
            raise UnprobeableError(Verdict.REFUSED, Reason.NO_BTF, detail)
        return self._ids.keys() & (self._functions.traceable.keys() | self._functions.aliases.keys())

    def _refusal(self, name: str) -> UnprobeableError | None:
        if self.unsupported is not None:
            return self.unsupported
        if self._functions.traceable[name] > 1:
            detail = "several functions have this name, and BTF does not tell which is meant; kprobe: probes them all"
            return UnprobeableError(Verdict.REFUSED, Reason.ATTACH_FAILED, detail)
        return None

    @cached_property
    def _ids(self) -> dict[str, int]:
        return btf.functions(self._file)

    @cached_property
    def unsupported(self) -> UnprobeableError | None:
        """Why this kernel takes no fentry program; None also where we may load no program at all, and cannot tell.

        The answer to a locked down kernel's refusal is EPERM, as to a missing privilege. That it is not the privilege
        shows by the same process loading another tracing program, which needs the same.
        """
        try:
            name = next(iter(self._names()), None)
        except UnprobeableError as no_btf:
            return no_btf.anew()
        error = try_fentry(self._ids[name]) if name is not None else None
        if error is None or try_program() is not None:
            return None
        if error.errno in (errno.EPERM, errno.EACCES):
            lockdown = Privileges.here().lockdown
            if lockdown not in ("integrity", "confidentiality"):
                return UnprobeableError(Verdict.REFUSED, Reason.PERMISSION, error.message)
            detail = (
                f"the kernel is locked down ({lockdown}): it refuses programs on its functions, "
                "though it takes other tracing programs from the same process"
            )
            return UnprobeableError(Verdict.REFUSED, Reason.LOCKDOWN, detail)
        if error.errno in _NOT_THERE:
            detail = f"this kernel takes no programs on its functions: {error.message}"
            return UnprobeableError(Verdict.REFUSED, Reason.KERNEL_CONFIG, detail)
        return None
