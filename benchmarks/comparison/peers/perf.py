"""perf stat: one uprobe event of tracefs a function, counted by perf events."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.functions import Program
from benchmarks.comparison.isolation import with_tracefs
from benchmarks.comparison.peers.versions import said_version


class Perf:
    """perf stat.

    Args:
        group: of the uprobe events; whoever makes this tool sees to it that none are left.
    """

    name = "perf stat"
    package = "linux-perf"

    def __init__(self, group: str) -> None:
        self._group = group

    def version(self) -> str | None:
        """Return what it says."""
        return said_version("perf", "--version")

    def functions(self, program: Program, command: Sequence[str], folder: Path) -> list[str]:
        """Define an event a function, count them all, and remove them."""
        group, offsets = self._group, program.offsets()
        events = "".join(
            f"p:{group}/{name} {program.binary}:{offset:#x}\n" for name, offset in offsets.items()
        )
        (folder / "uprobe_events").write_text(events, encoding="utf-8")
        (folder / "perf.out").unlink(missing_ok=True)
        define = f"cat {shlex.quote(str(folder / 'uprobe_events'))} >> /sys/kernel/tracing/uprobe_events"
        count = ["perf", "stat", "-x,", "-o", str(folder / "perf.out"), "-e", f"{group}:*", "--", *command]
        # The kernel removes the group, yet says that there is none.
        remove = f"echo '-:{group}/' 2>/dev/null > /sys/kernel/tracing/dynamic_events"
        return with_tracefs(
            f"{define} && {shlex.join(count)}; {remove}; [ ! -d /sys/kernel/tracing/events/{group} ]"
        )

    def seen(self, _: str, folder: Path) -> int:
        """Count the lines whose count is above zero."""
        text = (folder / "perf.out").read_text(encoding="utf-8")
        return len(re.findall(rf"^[1-9]\d*,,{self._group}:", text, re.MULTILINE))

    def syscalls(self, command: Sequence[str], _: Path) -> list[str]:
        """Count all as one number."""
        count = ["exec", "perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "--", *command]
        return with_tracefs(shlex.join(count))
