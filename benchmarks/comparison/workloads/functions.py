"""Counting the calls of N functions: start, end, a hit while attached, and a call after the function has fired."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.comparison.bench import Bench
from benchmarks.comparison.functions import Program
from benchmarks.comparison.peers.ebpf_bot import EbpfBot
from benchmarks.comparison.peers.floor import Floor
from benchmarks.comparison.peers.tool import CountsFunctions, Tool
from benchmarks.comparison.results import BOT, Row

__all__ = ["BY_BCC", "measure"]

_SIZES = (100, 500, 2_000, 10_000)
_HOT_SECONDS = 1.5
_KEPT = f"{BOT} --keep"
BY_BCC = f"{BOT} --backend bcc"
BARE = "bare"


def measure(bench: Bench) -> None:
    """Fill the rows of start, end, hit, and hot loop."""
    for functions in sorted({*_SIZES, bench.peer_functions}):
        program = bench.program(functions)
        tools: list[Tool] = [EbpfBot(), EbpfBot(BY_BCC, ("--backend", "bcc")), Floor()]
        if functions <= bench.peer_functions:
            tools += [tool for tool in bench.peers if isinstance(tool, CountsFunctions)]
        # The hot loop needs no more than the smallest program: what a hit costs does not depend on the number.
        hot = functions == _SIZES[0]
        variants: dict[str, Callable[[], None]] = {}
        for tool in tools:
            variants[tool.name] = _counting(bench, tool, program, hot=hot and tool.name != BY_BCC)
        if hot:
            variants[BARE] = _bare(bench, program)
            variants[_KEPT] = _counting(bench, EbpfBot(_KEPT, ("--keep",)), program, hot=hot)
        for name, why in bench.take_turns(f"{functions:,} functions", variants).items():
            bench.results.rows[f"start-{functions}"].notes[name] = why


def _counting(bench: Bench, tool: Tool, program: Program, *, hot: bool) -> Callable[[], None]:
    """Return a measurement of one run of a tool."""
    assert isinstance(tool, CountsFunctions)
    command = program.command(loop_seconds=_HOT_SECONDS if hot else 0)
    argv = tool.functions(program, command, bench.folder)
    size, results = f"{program.functions:,} functions", bench.results
    start = results.row(f"start-{program.functions}", f"tool start to workload start, {size}", "s")
    end = results.row(f"end-{program.functions}", f"workload end to tool exit, {size}", "s")
    both = results.row(f"both-{program.functions}", f"start and end together, {size}", "s")
    hit, loop = _hot_rows(bench)

    def once() -> None:
        ended = bench.run(argv)
        reading = program.reading()
        bench.check_seen(tool, ended.output, program)
        if hot and tool.name != BOT:
            hit.add(BOT if tool.name == _KEPT else tool.name, reading.hot_ns)
        if hot and tool.name != _KEPT and not isinstance(tool, Floor):
            loop.add(tool.name, reading.hot_ns)
        if tool.name != _KEPT:
            start.add(tool.name, reading.began - ended.began)
            end.add(tool.name, ended.ended - reading.ended)
            both.add(tool.name, reading.began - ended.began + ended.ended - reading.ended)

    return once


def _bare(bench: Bench, program: Program) -> Callable[[], None]:
    hit, loop = _hot_rows(bench)

    def once() -> None:
        bench.run(program.command(loop_seconds=_HOT_SECONDS))
        figure = program.reading().hot_ns
        hit.add(BARE, figure)
        loop.add(BARE, figure)

    return once


def _hot_rows(bench: Bench) -> tuple[Row, Row]:
    hit = bench.results.row("hit", "always-on count, a hit at an emulated site", "ns")
    return hit, bench.results.row("hot", "hot loop, a call 1 s after the first", "ns")
