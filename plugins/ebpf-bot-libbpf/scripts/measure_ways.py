#!/usr/bin/env python3
"""Measure how long attaching and closing takes by the ways that are chosen, and by the perf events that they replace.

    measure_ways.py [--tracepoints 386] [--functions 100]

Needs gcc and root. On an idle machine closing a perf event takes the kernel 25-50 ms, on a busy one twice that.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
from ebpf_bot_libbpf.lskel import LightSkeletons
from ebpf_bot_linux.counting import CountSource
from ebpf_bot_linux.features import Features
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.tracefs import Tracefs
from ebpf_bot_linux.injection import LinuxInjection
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.points import Point, TracepointPoint
from ebpf_bot_linux.sites import Sites

from ebpf_bot_core import ProbePattern, ProbeTable, Scope, Verdict


def main() -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tracepoints", type=int, default=386)
    parser.add_argument("--functions", type=int, default=100)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    here = Features.here()
    finder = Finder()
    patterns = ("tracepoint:syscalls:sys_enter_*", "tracepoint:sched:*")
    names = _names(finder, *patterns)[: options.tracepoints]
    _show(f"{len(names)} tracepoints, below perf events", _points(finder, names), here)
    with Tracefs() as tracefs:
        events = [TracepointPoint(tracefs.event_id(*name.split(":")[1:])) for name in names]
    _show(f"{len(names)} tracepoints, by perf events", events, here)
    with tempfile.TemporaryDirectory() as scratch:
        target = _build(Path(scratch), options.functions)
        functions = _points(finder, _names(finder, f"uprobe:{target}:f0*"))
        if here.uprobe_multi:
            _show(f"{len(functions)} functions, by one link", functions, here)
        without = attrs.evolve(here, uprobe_multi=False)
        _show(f"{len(functions)} functions, by perf events", functions, without)
    finder.close()
    return 0


def _names(finder: Finder, *patterns: str) -> list[str]:
    found = finder.find([ProbePattern.parse(pattern) for pattern in patterns])
    return [row.probe for row in found if row.verdict is Verdict.PENDING]


def _points(finder: Finder, names: Sequence[str]) -> list[Point]:
    return [point for point in finder.points(names) if not isinstance(point, UnprobeableError)]


def _show(title: str, points: Sequence[Point], features: Features) -> None:
    sites = Sites.of(points)
    programs = Programs(LightSkeletons(), sites.size, scope=Scope.HOST, keep=False)
    probes = ProbeTable(tuple(map(str, range(len(points)))))
    injection = LinuxInjection(
        probes,
        sites,
        programs,
        CountSource(probes, sites, programs, keep=False),
        covers_command=False,
        keep=False,
        features=features,
        elsewhere=lambda names, _: Sites.of([None] * len(names)),
    )
    began = time.perf_counter()
    outcome = injection.attach(np.arange(len(points)))
    attached = time.perf_counter()
    injection.close()
    closed = time.perf_counter()
    refused = int((outcome.columns["verdict"] != Verdict.SILENT).sum())
    sys.stdout.write(f"{title:<40} attach {attached - began:7.3f} s   close {closed - attached:7.3f} s")
    sys.stdout.write(f"   {refused} refused\n" if refused else "\n")


def _build(scratch: Path, functions: int) -> Path:
    bodies = "".join(
        f"__attribute__((used)) long f{i:05d}(long x) {{ return x * {i}; }}\n" for i in range(functions)
    )
    (scratch / "target.c").write_text(f"{bodies}int main(void) {{ return 0; }}\n", encoding="ascii")
    command = ["gcc", "-O1", "-fno-omit-frame-pointer", "target.c", "-o", "target"]
    subprocess.run(command, cwd=scratch, check=True, timeout=120)  # noqa: S603 - fixed
    return scratch / "target"


if __name__ == "__main__":
    sys.exit(main())
