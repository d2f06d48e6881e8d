"""bcc's tools funccount and syscount: they compile C at start, and count until they are interrupted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.functions import Program
from benchmarks.comparison.isolation import with_tracefs
from benchmarks.comparison.peers import bcc_headers
from benchmarks.comparison.peers.versions import debian_version, said_version


class Bcc:
    """funccount for functions, syscount for system calls."""

    name = "bcc"
    package = "bpfcc-tools"

    def version(self) -> str | None:
        """Return Debian's version of it."""
        return debian_version(self.package) if said_version("funccount-bpfcc", "--help") else None

    def functions(self, program: Program, command: Sequence[str], folder: Path) -> list[str]:
        """Count by instruction pointer, as funccount does."""
        return _around(["funccount-bpfcc", f"{program.binary}:{program.pattern}"], command, folder)

    def seen(self, output: str, _: Path) -> int:
        """Count the rows."""
        return len(re.findall(r"^f0\d+ +\d+", output, re.MULTILINE))

    def syscalls(self, command: Sequence[str], folder: Path) -> list[str]:
        """Count by number of the system call, at its exit, as syscount does."""
        return _around(["syscount-bpfcc"], command, folder)


def _around(tool: Sequence[str], command: Sequence[str], folder: Path) -> list[str]:
    """Start the tool, run the command once it says that it is tracing, then interrupt it."""
    environment = (
        f"export PYTHONUNBUFFERED=1 BCC_PROBE_LIMIT=20000 BCC_KERNEL_SOURCE={bcc_headers.make(folder)}"
    )
    start = f"coproc tool {{ exec {shlex.join(tool)}; }}"
    # The pid and the pipe are copied: bash forgets both when the tool ends.
    keep = 'pid=$tool_PID; exec {said}<&"${tool[0]}"'
    wait = 'until [[ "$line" == Tracing* ]]; do IFS= read -r line <&"$said" || exit 3; done'
    stop = 'kill -INT "$pid"; cat <&"$said"'
    return with_tracefs("\n".join([environment, start, keep, wait, shlex.join(command), stop]))
