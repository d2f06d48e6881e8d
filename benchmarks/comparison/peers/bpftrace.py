"""bpftrace: one perf event a probe, a map of counts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.functions import Program
from benchmarks.comparison.isolation import with_tracefs
from benchmarks.comparison.peers.versions import said_version

_LIMITS = "export BPFTRACE_MAX_PROBES=20000 BPFTRACE_MAX_BPF_PROGS=20000; "


class Bpftrace:
    """bpftrace, with a count a probe."""

    name = "bpftrace"
    package = "bpftrace"

    def version(self) -> str | None:
        """Return what it says."""
        return said_version("bpftrace", "--version")

    def functions(self, program: Program, command: Sequence[str], folder: Path) -> list[str]:
        """Count by probe name."""
        return self.uprobes(program.binary, program.pattern, command, folder)

    def uprobes(self, binary: Path, pattern: str, command: Sequence[str], _: Path) -> list[str]:
        """Count the functions of any binary that match."""
        return _running(f"uprobe:{binary}:{pattern} {{ @[probe] = count(); }}", command)

    def seen(self, output: str, _: Path) -> int:
        """Count the keys."""
        return len(re.findall(r"^@\[", output, re.MULTILINE))

    def syscalls(self, command: Sequence[str], _: Path) -> list[str]:
        """Count by number of the system call."""
        return _running("tracepoint:raw_syscalls:sys_enter { @[args->id] = count(); }", command)


def _running(program: str, command: Sequence[str]) -> list[str]:
    return with_tracefs(_LIMITS + shlex.join(["exec", "bpftrace", "-c", shlex.join(command), "-e", program]))
