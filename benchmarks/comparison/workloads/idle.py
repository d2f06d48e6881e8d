"""An idle bot: its memory and CPU while 10,000 attached probes wait for a program that sleeps."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from benchmarks.comparison.bench import Bench
from benchmarks.comparison.isolation import DIES_WITH_US
from benchmarks.comparison.peers.ebpf_bot import EbpfBot
from benchmarks.comparison.results import BOT

__all__ = ["measure"]

_FUNCTIONS = 10_000
_SECONDS, _SETTLING = 30, 3
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(bench: Bench) -> None:
    """Fill the rows."""
    bench.say(f"idle with {_FUNCTIONS:,} probes, {_SECONDS} s")
    program = bench.program(_FUNCTIONS)
    sleeping = program.command(sleep_seconds=_SECONDS + 2 * _SETTLING)
    argv = EbpfBot().run(f"uprobe:{program.binary}:{program.pattern}", sleeping, bench.folder)
    with subprocess.Popen(
        [*DIES_WITH_US, *argv],
        cwd=bench.folder,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "ENABLE_OTLP": "false"},
    ) as bot:
        time.sleep(_SETTLING)
        busy = _cpu_seconds(bot.pid)
        time.sleep(_SECONDS)
        share = (_cpu_seconds(bot.pid) - busy) / _SECONDS
        memory = _memory(bot.pid)
        bot.wait(timeout=bench.seconds)
    title = f"idle with {_FUNCTIONS:,} attached probes for {_SECONDS} s"
    bench.results.row("idle-rss", f"{title}: resident memory", "MiB").add(BOT, memory["Rss"])
    bench.results.row("idle-pss", f"{title}: proportional share of memory", "MiB").add(BOT, memory["Pss"])
    bench.results.row("idle-cpu", f"{title}: of one CPU", "%").add(BOT, 100 * share)


def _cpu_seconds(pid: int) -> float:
    """Return user and system time of a process (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> dict[str, float]:
    """Return Rss and Pss in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return {name: int(kib) / 1024 for name, kib in re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.MULTILINE)}
