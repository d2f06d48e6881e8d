"""strace: stops the command twice a system call, by ptrace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.peers.versions import said_version


class Strace:
    """strace -c."""

    name = "strace"
    package = "strace"

    def version(self) -> str | None:
        """Return what it says."""
        return said_version("strace", "--version")

    def syscalls(self, command: Sequence[str], folder: Path) -> list[str]:
        """Count by system call, children included."""
        return ["strace", "-c", "-f", "-o", str(folder / "strace.out"), *command]
