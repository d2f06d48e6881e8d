#!/usr/bin/env python3
"""Measure what this backend costs on this host: loading, attaching, and what a hit adds to the target.

    measure.py [--functions 2000] [--calls 200000] [--rounds 5]

Needs gcc and the privileges of the backend. The variants take turns, and the median of the rounds is shown, since a
machine's speed changes from one minute to the next: compare figures of one run only. What the target takes is its CPU
time; "adds" is the median of the differences to the first variant of the same round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from ebpf_bot_libbpf.lskel import LightSkeletons
from ebpf_bot_libbpf.stages import LibbpfInjector
from ebpf_bot_linux.injection import LinuxInjection
from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.programs import Programs

from ebpf_bot_core import Mode, ProbePattern, ProbeTable, Scope

TARGET = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
/* Begins with an instruction that the kernel emulates; most others it must single-step, at about 12 us a hit. */
asm(".globl probed\\n.type probed, @function\\nprobed: nop\\nmov %%rdi, %%rax\\nret\\n.size probed, .-probed");
long probed(long x);
%s
int main(int c, char **v) {
    long calls = atol(v[2]), x = 1;
    struct timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    if (v[1][0] == 'f') for (long i = 0; i < calls; i++) x = probed(x);
    else for (long i = 0; i < calls; i++) x += syscall(SYS_getppid);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    printf("%%.1f", ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec) / calls);
    return x == 0;
}
"""
SECONDS = 120


def main() -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--functions", type=int, default=2000)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        target = _build(Path(scratch), options.functions)
        bench = Bench(target, options.calls)
        _show("load the programs", _rounds(options.rounds, {"": bench.load}), "ms")
        _show("attach and detach", _rounds(options.rounds, bench.attaching(options.functions)), "ms")
        _show("one call of a function that begins with nop", _rounds(options.rounds, bench.hits()), "ns")
        _show("one getppid()", _rounds(options.rounds, bench.system_calls()), "ns")
        _show("what is estimated of what a hit adds", _rounds(options.rounds, bench.estimates()), "x ")
    return 0


class Bench:
    """The variants that are compared: each runs once and returns its figure."""

    def __init__(self, target: Path, calls: int) -> None:
        self._target = target
        self._calls = calls
        self._injector = LibbpfInjector()

    def load(self) -> float:
        """Return how many ms it takes to load the programs."""
        began = time.perf_counter()
        programs = Programs(LightSkeletons(), 2000, scope=Scope.COMMAND, keep=True)
        took = time.perf_counter() - began
        programs.close()
        return took * 1e3

    def attaching(self, functions: int) -> dict[str, Callable[[], float]]:
        """Return variants that attach and detach all functions of the target."""
        found = self._injector.find([ProbePattern.parse(f"uprobe:{self._target}:f*")])
        rows = np.arange(functions)

        def took(*, detach: bool) -> float:
            with self._open(found.probes, Scope.COMMAND) as injection:
                began = time.perf_counter()
                injection.attach(rows)
                if detach:
                    injection.detach(rows)
                return (time.perf_counter() - began) * 1e3

        return {
            f"attach {functions}": lambda: took(detach=False),
            f"attach and detach {functions}": lambda: took(detach=True),
        }

    def hits(self) -> dict[str, Callable[[], float]]:
        """Return variants of a call to one function."""
        probe = f"uprobe:{self._target}:probed"

        def empty() -> float:
            (point,) = self._injector._finder.points([probe])  # noqa: SLF001 - to attach what no injection would
            offset = np.array(getattr(point, "offsets", ()), np.uint64)
            with ExitStack() as stack:
                programs = Programs(LightSkeletons(), 2, scope=Scope.HOST, keep=True)
                stack.callback(programs.close)
                link = syscalls.attach_uprobes(
                    programs["uprobe_trial"], str(self._target), offset, offset, on_return=False
                )
                stack.callback(os.close, link)
                return self._run("function")

        return {
            "no probe": lambda: self._run("function"),
            "an empty program": empty,
            "counted, scope host": lambda: self._probed([probe], Scope.HOST, "function"),
            "counted, scope command": lambda: self._probed([probe], Scope.COMMAND, "function"),
            "not covered by scope command": lambda: self._probed(
                [probe], Scope.COMMAND, "function", follow=False
            ),
        }

    def system_calls(self) -> dict[str, Callable[[], float]]:
        """Return variants of a system call."""
        watched, other = "syscall:getppid", "syscall:swapoff"
        return {
            "no probe": lambda: self._run("syscall"),
            "another syscall is watched": lambda: self._probed([other], Scope.COMMAND, "syscall"),
            "counted, scope host": lambda: self._probed([watched], Scope.HOST, "syscall"),
            "counted, scope command": lambda: self._probed([watched], Scope.COMMAND, "syscall"),
            "not covered by scope command": lambda: self._probed(
                [watched], Scope.COMMAND, "syscall", follow=False
            ),
        }

    def estimates(self) -> dict[str, Callable[[], float]]:
        """Return variants that tell the estimated cost of a hit in parts of the measured one."""

        def ratio(probe: str, what: str) -> float:
            bare = self._run(what)
            with self._open(ProbeTable((probe,)), Scope.COMMAND) as injection:
                injection.attach(np.arange(1))
                with injection.follow():
                    process = self._start(what)
                added = _figure(process) - bare
                return float(injection.cost()[0]) / self._calls * 1e9 / added

        return {
            "entry": lambda: ratio(f"uprobe:{self._target}:probed", "function"),
            "return": lambda: ratio(f"uretprobe:{self._target}:probed", "function"),
            "getppid": lambda: ratio("syscall:getppid", "syscall"),
        }

    def _open(self, probes: ProbeTable, scope: Scope) -> LinuxInjection:
        return self._injector.open(probes, scope=scope, mode=Mode.COUNT, keep=True)

    def _probed(self, names: list[str], scope: Scope, what: str, *, follow: bool = True) -> float:
        with self._open(ProbeTable(tuple(names)), scope) as injection:
            injection.attach(np.arange(len(names)))
            if not follow:
                return self._run(what)
            with injection.follow():
                process = self._start(what)
            return _figure(process)

    def _run(self, what: str) -> float:
        return _figure(self._start(what))

    def _start(self, what: str) -> subprocess.Popen[bytes]:
        command = [str(self._target), what, str(self._calls)]
        return subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - built above


def _figure(process: subprocess.Popen[bytes]) -> float:
    out, _ = process.communicate(timeout=SECONDS)
    return float(out)


def _build(scratch: Path, functions: int) -> Path:
    bodies = "".join(
        f"__attribute__((used)) long f{i:05d}(long x) {{ return x * {i}; }}\n" for i in range(functions)
    )
    (scratch / "target.c").write_text(TARGET % bodies, encoding="ascii")
    command = ["gcc", "-O1", "-fno-omit-frame-pointer", "target.c", "-o", "target"]
    subprocess.run(command, cwd=scratch, check=True, timeout=SECONDS)  # noqa: S603 - fixed
    return scratch / "target"


def _rounds(rounds: int, variants: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            figures[name].append(measure())
    return figures


def _show(title: str, figures: dict[str, list[float]], unit: str) -> None:
    sys.stdout.write(f"{title}\n")
    first = next(iter(figures.values()))
    for name, values in figures.items():
        middle, low, high = statistics.median(values), min(values), max(values)
        added = statistics.median(value - bare for value, bare in zip(values, first, strict=True))
        beside = "" if values is first or unit == "x " else f"   adds {added:.2f}"
        sys.stdout.write(f"  {name:<34}{middle:10.2f} {unit}   ({low:.2f} to {high:.2f}){beside}\n")


if __name__ == "__main__":
    sys.exit(main())
