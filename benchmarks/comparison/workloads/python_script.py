"""Covering all functions of the Python interpreter under a short script: how long the script itself takes.

A copy of the library is covered, so that neither this benchmark nor any other Python on the host runs into its probes.
"""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.comparison.bench import Bench
from benchmarks.comparison.isolation import run
from benchmarks.comparison.peers.bpftrace import Bpftrace
from benchmarks.comparison.peers.ebpf_bot import EbpfBot
from benchmarks.comparison.results import BOT, Row
from benchmarks.comparison.workloads.functions import BARE

__all__ = ["measure"]

_SCRIPT = """
import argparse, ast, collections, csv, decimal, fractions, json, pickle, random, re, statistics, string, threading, zlib
random.seed(1)
words = [''.join(random.choices(string.ascii_lowercase, k=6)) for _ in range(300)]
assert json.loads(json.dumps(collections.Counter(w[0] for w in words)))
assert pickle.loads(pickle.dumps(sorted(words, key=lambda w: w[::-1])))
ast.dump(ast.parse('def f(x: int, *a, **k): return [y ** 2 for y in x if y] or {1: 2}'))
re.sub(r'(a+)(b*)', lambda m: m[2] + m[1], ' '.join(words))
statistics.stdev(decimal.Decimal(n) / 7 for n in range(20))
zlib.decompress(zlib.compress(b'x' * 100))
worker = threading.Thread(target=lambda: '{:>10.3f} {!r}'.format(1.5, fractions.Fraction(1, 3)))
worker.start(); worker.join()
"""
_PART = "PyUnicode_*"


def measure(bench: Bench) -> None:
    """Fill the rows: all functions; and a part of them that bpftrace can attach to in bounded time."""
    script = bench.folder / "script.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    library, python = _copy(bench.folder)
    command = ["env", f"LD_LIBRARY_PATH={library.parent}", "PYTHONHASHSEED=0", python, "-I", str(script)]
    every = bench.results.row("python", "all functions of libpython, wall time of a script", "s")
    part = bench.results.row("python-part", f"the functions {_PART} of libpython, wall time of a script", "s")
    timed = Timed(bench, command)
    bot = EbpfBot()

    def ours(row: Row, pattern: str) -> set[str]:
        row.add(BOT, timed.seconds(lambda inner: bot.run(f"uprobe:{library}:{pattern}", inner, bench.folder)))
        fired, possible = _covered(bench)
        row.notes[BOT] = f"{len(fired):,} of {possible:,} functions fired"
        return fired

    found: list[set[str]] = []
    variants: dict[str, Callable[[], None]] = {
        BARE: lambda: every.add(BARE, timed.seconds(list)),
        BOT: lambda: found.append(ours(every, "*")),
    }
    every.notes |= bench.take_turns("libpython", variants)
    missed = bench.results.row(
        "python-missed", "functions of libpython that another round found", "functions"
    )
    for fired in found:
        missed.add(BOT, len(set().union(*found) - fired))

    def part_ours() -> None:
        ours(part, _PART)

    variants = {BARE: lambda: part.add(BARE, timed.seconds(list)), BOT: part_ours}
    for tool in bench.peers:
        if isinstance(tool, Bpftrace):
            variants[tool.name] = _traced(bench, part, timed, tool, library)
            every.notes[tool.name] = "not run on all: at the time that each probe takes to detach, minutes"
    part.notes |= bench.take_turns(f"libpython {_PART}", variants, rounds=1)


def _traced(bench: Bench, row: Row, timed: Timed, tool: Bpftrace, library: Path) -> Callable[[], None]:
    return lambda: row.add(
        tool.name, timed.seconds(lambda inner: tool.uprobes(library, _PART, inner, bench.folder))
    )


class Timed:
    """A command that writes down how long it took, under a tool or bare."""

    def __init__(self, bench: Bench, command: Sequence[str]) -> None:
        self._bench = bench
        self._times = bench.folder / "script.times"
        note = f'b=$EPOCHREALTIME; "$@"; echo $b $EPOCHREALTIME > {self._times}'
        (bench.folder / "timed.sh").write_text(note, encoding="utf-8")
        self._command = [shutil.which("bash") or "/bin/bash", str(bench.folder / "timed.sh"), *command]

    def seconds(self, tool: Callable[[Sequence[str]], list[str]]) -> float:
        """Run it under a tool; return the wall time of the command, not of the tool."""
        self._bench.run(tool(self._command))
        began, ended = self._times.read_text(encoding="ascii").split()
        self._times.unlink()
        return float(ended) - float(began)


def _copy(folder: Path) -> tuple[Path, str]:
    """Copy what holds the interpreter's functions; return the copy, and the command that runs with it."""
    executable = Path(sys.executable).resolve()
    shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
    source = (
        Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("INSTSONAME")
        if shared
        else executable
    )
    copy = folder / "python" / source.name
    copy.parent.mkdir()
    shutil.copy(source, copy)
    return copy, str(executable if shared else copy)


def _covered(bench: Bench) -> tuple[set[str], int]:
    """Return which probes of the last run fired, and how many could have."""
    report = [sys.executable, "-m", "ebpf_bot_core", "report", "--format", "json", "-o", "report.json"]
    run(report, bench.folder, seconds=60)
    document = json.loads((bench.folder / "report.json").read_text(encoding="utf-8"))
    fired = {row["probe"] for row in document["probes"] if row["verdict"] == "fired"}
    return fired, document["totals"]["expected"] - document["totals"]["excluded"]
