"""The finder: which probes patterns name on this host, and where they are."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ebpf_bot_core import Evidence, ProbeKind, ProbePattern, Reason, Verdict
from ebpf_bot_linux.finding.answers import Answers
from ebpf_bot_linux.finding.function_probes import FentryProbes, KprobeProbes
from ebpf_bot_linux.finding.function_reader import DEBUG_ROOT
from ebpf_bot_linux.finding.kernel_functions import KALLSYMS, KernelFunctions
from ebpf_bot_linux.finding.kernel_names import BTF_ROOT
from ebpf_bot_linux.finding.kernel_probes import RawTracepointProbes, SyscallProbes, TracepointProbes
from ebpf_bot_linux.finding.placed import Placed, in_order
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.software_probes import SoftwareProbes
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.finding.targets import Targets
from ebpf_bot_linux.finding.tracefs import Tracefs
from ebpf_bot_linux.finding.uprobes import function_probes
from ebpf_bot_linux.finding.usdt import usdt_probes

__all__ = ["Finder", "KindFinder"]


class KindFinder(Protocol):
    """Finds the probes of one kind, or of several that are alike. `Finder` has one for every kind."""

    def find(self, patterns: Sequence[ProbePattern]) -> Answers:
        """Return what patterns of one kind and one target name, numbered as they are given, each of them once.

        Each is answered by at least one row; the host's state never raises. A plan may name every probe that there
        is, so what takes long is done once for all of them.
        """
        ...

    def points(self, names: Sequence[str]) -> Sequence[Placed]:
        """Return the points of the canonical names of probes, in their order; see `Finder.points`."""
        ...


class Finder:
    """Finds probes on this host. What it has read of files and of the kernel it remembers until it is closed.

    Args:
        debug_root: where separate debug files are, under `.build-id`.
        btf_root: the directory of the kernel's BTF.
        kallsyms: the list of the kernel's symbols.
        tracefs: where tracepoints are listed; the finder closes it.
    """

    def __init__(
        self,
        *,
        debug_root: Path = DEBUG_ROOT,
        btf_root: Path = BTF_ROOT,
        kallsyms: Path = KALLSYMS,
        tracefs: Tracefs | None = None,
    ) -> None:
        self._tracefs = tracefs or Tracefs()
        self._suggestions = Suggestions()
        targets = Targets(self._suggestions)
        functions = function_probes(debug_root, targets, self._suggestions)
        kernel_functions = KernelFunctions(self._tracefs, kallsyms)
        kprobes = KprobeProbes(kernel_functions, self._suggestions)
        fentries = FentryProbes(kernel_functions, self._suggestions, btf_root)
        raw_tracepoints = RawTracepointProbes(self._tracefs, self._suggestions, btf_root)
        self._finders: dict[str, KindFinder] = {
            ProbeKind.UPROBE: functions,
            ProbeKind.URETPROBE: functions,
            ProbeKind.USDT: usdt_probes(targets, self._suggestions),
            ProbeKind.TRACEPOINT: TracepointProbes(self._tracefs, self._suggestions, raw_tracepoints),
            ProbeKind.RAWTRACEPOINT: raw_tracepoints,
            ProbeKind.SYSCALL: SyscallProbes(self._suggestions),
            ProbeKind.KPROBE: kprobes,
            ProbeKind.KRETPROBE: kprobes,
            ProbeKind.FENTRY: fentries,
            ProbeKind.FEXIT: fentries,
            ProbeKind.SOFTWARE: SoftwareProbes(self._suggestions),
        }

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        """Say which probes the patterns name, as `ebpf_bot_core.ProbeInjector.find` has it.

        Each probe is one row under its canonical name, such as `uprobe:/real/path:function`, in the order in which
        the patterns name them; a pattern that names none is one row under its own text. Damaged, hostile or missing
        files are rows, never exceptions.
        """
        self._suggestions.renew()
        asked = list(dict.fromkeys(patterns))
        alike: dict[tuple[ProbeKind, str], list[int]] = {}
        for number, pattern in enumerate(asked):
            alike.setdefault((pattern.kind, pattern.target), []).append(number)
        parts = [
            self._finders[kind].find([asked[number] for number in numbers]).numbered(numbers)
            for (kind, _), numbers in alike.items()
        ]
        return Answers.together(parts).evidence()

    def points(self, names: Sequence[str]) -> list[Placed]:
        """Return where probes are placed that `find` called pending, by their canonical names and in their order.

        What was found before is not read again, so a binary is described as it was when it was found. In the place
        of a name that is of no probe that can be placed, the error says why. Many names take much less time
        together than one by one.
        """
        of_kind: dict[str, array[int]] = {}
        for number, name in enumerate(names):
            of_kind.setdefault(name.partition(":")[0], array("q")).append(number)
        parts = (
            (numbers, self._points(kind, [names[number] for number in numbers]))
            for kind, numbers in of_kind.items()
        )
        return in_order(len(names), parts)

    def tracepoint_format(self, category: str, name: str) -> str:
        """Return what tracefs says of a tracepoint's record; UnprobeableError where it cannot be read."""
        return self._tracefs.format(category, name)

    def close(self) -> None:
        """Give back what is open. May be called twice."""
        self._tracefs.close()

    def _points(self, kind: str, names: Sequence[str]) -> Sequence[Placed]:
        finder = self._finders.get(kind)
        if finder is None:
            detail = f"no backend on this host serves {kind}"
            return [UnprobeableError(Verdict.REFUSED, Reason.NO_BACKEND, detail)] * len(names)
        return finder.points(names)
