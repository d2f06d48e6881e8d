"""Attaching and detaching N functions within a process, as an embedding program does, without the start of Python."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from benchmarks.comparison.bench import Bench
from benchmarks.comparison.functions import Program
from benchmarks.comparison.peers.floor import Floor, attach_empty
from benchmarks.comparison.results import BOT, Row
from benchmarks.comparison.workloads.functions import BY_BCC
from ebpf_bot_core import Mode, Plugins, ProbePattern, Scope

__all__ = ["measure"]

_SIZES = (2_000, 10_000)


def measure(bench: Bench) -> None:
    """Fill the rows; the floor is one link with an empty program, attached and closed."""
    for functions in _SIZES:
        title = f"attach + detach {functions:,} functions, in a running process"
        row = bench.results.row(f"library-{functions}", title, "s")
        program = bench.program(functions)
        variants = {
            BOT: _ours(row, program, BOT, "libbpf"),
            BY_BCC: _ours(row, program, BY_BCC, "bcc"),
            Floor.name: _floor(row, program),
        }
        row.notes |= bench.take_turns(title, variants, rounds=5)


def _ours(row: Row, program: Program, name: str, backend: str) -> Callable[[], None]:
    injector = Plugins().get("injector", backend).build({})
    found = injector.find([ProbePattern.parse(f"uprobe:{program.binary}:{program.pattern}")])
    rows = np.arange(program.functions)

    def once() -> None:
        with injector.open(found.probes, scope=Scope.HOST, mode=Mode.COUNT, keep=False) as injection:
            began = time.perf_counter()
            injection.attach(rows)
            injection.detach(rows)
            row.add(name, time.perf_counter() - began)

    return once


def _floor(row: Row, program: Program) -> Callable[[], None]:
    offsets = list(program.offsets().values())

    def once() -> None:
        began = time.perf_counter()
        os.close(attach_empty(program.binary, offsets))
        row.add(Floor.name, time.perf_counter() - began)

    return once
