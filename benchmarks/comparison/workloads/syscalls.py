"""All system calls, under a loop of getppid: what each call takes longer than without the tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.comparison.bench import Bench
from benchmarks.comparison.functions import Program
from benchmarks.comparison.peers.ebpf_bot import EbpfBot
from benchmarks.comparison.peers.strace import Strace
from benchmarks.comparison.peers.tool import CountsSyscalls
from benchmarks.comparison.results import BOT
from ebpf_bot_core import Mode, Plugins, ProbePattern, Scope

__all__ = ["HOST", "measure"]

HOST = f"{BOT}, whole host"
_CALLS, _CALLS_STOPPED = 1_000_000, 10_000


def measure(bench: Bench) -> None:
    """Fill the row; bare runs first in each round, and is subtracted."""
    row = bench.results.row("syscalls", "all system calls counted, added to one getppid()", "ns")
    program = bench.program(100)
    bare: list[float] = []

    def reading(argv: Sequence[str]) -> float:
        bench.run(argv)
        return program.reading().syscall_ns

    def counting(tool: CountsSyscalls, name: str) -> Callable[[], None]:
        calls = _CALLS_STOPPED if isinstance(tool, Strace) else _CALLS
        argv = tool.syscalls(program.command(syscalls=calls), bench.folder)
        return lambda: row.add(name, reading(argv) - bare[-1])

    variants = {"bare": lambda: bare.append(reading(program.command(syscalls=_CALLS)))}
    variants[BOT] = counting(EbpfBot(options=("--keep",)), BOT)
    variants[HOST] = lambda: row.add(HOST, _on_host(bench, program) - bare[-1])
    variants |= {
        tool.name: counting(tool, tool.name) for tool in bench.peers if isinstance(tool, CountsSyscalls)
    }
    row.notes |= bench.take_turns("system calls", variants)


def _on_host(bench: Bench, program: Program) -> float:
    injector = Plugins().get("injector", "libbpf").build({})
    found = injector.find([ProbePattern.parse("syscall:*")])
    with injector.open(found.probes, scope=Scope.HOST, mode=Mode.COUNT, keep=True) as injection:
        injection.attach(np.arange(len(found)))
        bench.run(program.command(syscalls=_CALLS))
    return program.reading().syscall_ns
