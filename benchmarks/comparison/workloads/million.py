"""A million expected probes: time to read, find and decide, and the memory.

Run as `python -m benchmarks.comparison.workloads.million (names | pattern) PLAN`, it does so in this process and prints JSON. Two plans:
one that names each function, which is read; and one with a pattern that all of them match, which is run.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.comparison.bench import Bench
from benchmarks.comparison.results import BOT
from ebpf_bot_core import Plan, UnifiedPipeline

__all__ = ["measure"]

_NAMES = 1_000_000
_STEPS = 5
_READ = {
    "read": ("names in a plan, reading it", "s"),
    "read-peak": ("names in a plan, peak memory of reading it", "MiB"),
}
_RUN = {
    "start": ("probes, finding them and opening", "s"),
    "first": ("probes, the first step, which attaches 4,096", "s"),
    "decision": ("probes, a decision", "s"),
    "step": ("probes, a step that changes nothing", "s"),
    "peak": ("probes, peak memory", "MiB"),
}


def measure(bench: Bench) -> None:
    """Fill the rows."""
    binary = bench.folder / "million"
    names = [f"function_{i:07d}" for i in range(_NAMES)]
    bench.say(f"{_NAMES:,} names: assembling a program that has them")
    _assemble(binary, names)
    plans = {"names": _plan(binary, names), "pattern": _plan(binary, ["*"])}

    def measuring(how: str, titles: dict[str, tuple[str, str]]) -> Callable[[], None]:
        path = bench.folder / f"{how}.toml"
        path.write_text(plans[how], encoding="ascii")

        def once() -> None:
            ended = bench.run([sys.executable, "-m", __spec__.name, how, str(path)])
            for key, figure in json.loads(ended.output.splitlines()[-1]).items():
                title, unit = titles[key]
                bench.results.row(f"million-{key}", f"{_NAMES:,} {title}", unit).add(BOT, figure)

        return once

    for how, titles in (("names", _READ), ("pattern", _RUN)):
        failed = bench.take_turns(f"{_NAMES:,} {how}", {BOT: measuring(how, titles)}, rounds=1)
        last = list(titles)[-1]
        bench.results.row(f"million-{last}", f"{_NAMES:,} {titles[last][0]}", titles[last][1]).notes |= failed


def _assemble(binary: Path, names: Sequence[str]) -> None:
    """Make a program of so many functions."""
    bodies = "".join(f".type {n},@function\n{n}:nop\nret\n.size {n},2\n" for n in names)
    source = binary.with_suffix(".s")
    head, main = '.section .note.GNU-stack,"",@progbits\n.text\n', ".globl main\nmain: xor %eax,%eax\nret\n"
    source.write_text(head + bodies + main, encoding="ascii")
    subprocess.run(["gcc", "-o", str(binary), str(source)], check=True, timeout=120)


def _plan(binary: Path, functions: Sequence[str]) -> str:
    """Return a plan that expects these of a program."""
    probes = ",\n".join(f'"uprobe:{binary}:{name}"' for name in functions)
    return f"""[plan]
name = "million"
[[expect]]
probes = [
{probes}
]
[budget]
max_attached = 4096
[stages]
store = "memory"
"""


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _read(path: Path) -> dict[str, float]:
    """Read a plan, and return what it took."""
    began = time.perf_counter()
    plan = Plan.read(path)
    if not plan.digest or len(plan.patterns) != _NAMES:
        raise SystemExit("not the plan that was written")
    return {"read": time.perf_counter() - began, "read-peak": _peak()}


def _run(path: Path) -> dict[str, float]:
    """Run some steps of a plan, and return what they took."""
    with UnifiedPipeline.from_plan(path) as pipeline:
        began = time.perf_counter()
        pipeline.start()
        start = time.perf_counter() - began
        if len(pipeline.bot.probes) < _NAMES:
            raise SystemExit("not all were found")
        began = time.perf_counter()
        pipeline.step()
        first = time.perf_counter() - began
        decisions, steps = [], []
        for number in range(_STEPS):
            began = time.perf_counter()
            pipeline.orchestrator.decide(pipeline.bot, step=number + 2, now_ns=time.monotonic_ns())
            decisions.append(time.perf_counter() - began)
            began = time.perf_counter()
            pipeline.step()
            steps.append(time.perf_counter() - began)
    return {
        "start": start,
        "first": first,
        "decision": max(decisions),
        "step": statistics.median(steps),
        "peak": _peak(),
    }


if __name__ == "__main__":
    how, plan_file = sys.argv[1:]
    sys.stdout.write(json.dumps((_read if how == "names" else _run)(Path(plan_file))) + "\n")
