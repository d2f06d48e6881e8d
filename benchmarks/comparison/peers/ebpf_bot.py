"""ebpf-bot itself, as a user starts it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import attrs

from benchmarks.comparison.functions import Program


@attrs.frozen
class EbpfBot:
    """`ebpf-bot run`.

    Args:
        name: as the table shows it.
        options: of `run`.
    """

    name: str = "ebpf-bot"
    options: tuple[str, ...] = ()

    package = "ebpf-bot-core"

    def version(self) -> str | None:
        """Return that of the core."""
        return version(self.package)

    def functions(self, program: Program, command: Sequence[str], folder: Path) -> list[str]:
        """Cover the command."""
        return self.run(f"uprobe:{program.binary}:{program.pattern}", command, folder)

    def seen(self, output: str, _: Path) -> int:
        """Read the first line of the report."""
        found = re.search(r"([\d,]+) of [\d,]+ probes fired", output)
        return int(found[1].replace(",", "")) if found else 0

    def syscalls(self, command: Sequence[str], folder: Path) -> list[str]:
        """Cover the command."""
        return self.run("syscall:*", command, folder)

    def run(self, pattern: str, command: Sequence[str], folder: Path) -> list[str]:
        """Return the command line, with a new store each time."""
        for old in folder.glob(".ebpf-bot.db*"):
            old.unlink()
        bot = [sys.executable, "-m", "ebpf_bot_core", "run", *self.options]
        return [*bot, "--expect", pattern, "--", *command]
