"""A plan of a million exact names, all of which exist: time to read it, to find them, to decide, and the memory.

Run as `python -m benchmarks.comparison.workloads.million PLAN`, it does so in this process and prints JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.comparison.bench import Bench
from benchmarks.comparison.results import BOT
from ebpf_bot_core import Mode, Plan, UnifiedPipeline

__all__ = ["measure"]

_NAMES = 1_000_000
_STEPS = 5
_TITLES = {
    "read": ("reading the plan", "s"),
    "start": ("finding the probes and opening", "s"),
    "first": ("first step, 4,096 probes attached", "s"),
    "decision": ("a decision", "s"),
    "step": ("a step that changes nothing", "s"),
    "peak": ("peak memory", "MiB"),
}


def measure(bench: Bench) -> None:
    """Fill the rows."""
    binary, plan = bench.folder / "million", bench.folder / "million.toml"

    def once() -> None:
        _build(binary, plan)
        ended = bench.run([sys.executable, "-m", __spec__.name, str(plan)])
        for key, figure in json.loads(ended.output.splitlines()[-1]).items():
            title, unit = _TITLES[key]
            bench.results.row(f"million-{key}", f"a plan of {_NAMES:,} names: {title}", unit).add(BOT, figure)

    failed = bench.take_turns(f"{_NAMES:,} names", {BOT: once}, rounds=1)
    if failed:
        bench.results.row("million-peak", f"a plan of {_NAMES:,} names: peak memory", "MiB").notes |= failed


def _build(binary: Path, plan: Path) -> None:
    """Assemble a program of a million functions, and a plan that names each."""
    names = [f"function_{i:07d}" for i in range(_NAMES)]
    bodies = "".join(f".type {n},@function\n{n}:nop\nret\n.size {n},2\n" for n in names)
    source = binary.with_suffix(".s")
    head, main = '.section .note.GNU-stack,"",@progbits\n.text\n', ".globl main\nmain: xor %eax,%eax\nret\n"
    source.write_text(head + bodies + main, encoding="ascii")
    subprocess.run(["gcc", "-o", str(binary), str(source)], check=True, timeout=120)
    probes = ",\n".join(f'"uprobe:{binary}:{name}"' for name in names)
    plan.write_text(
        f'[plan]\nname = "million"\n[[expect]]\nprobes = [\n{probes}\n]\n[budget]\nmax_attached = 4096\n'
        '[stages]\nstore = "memory"\n',
        encoding="ascii",
    )


def _run(path: Path) -> dict[str, float]:
    """Read the plan, run some steps of it, and return what they took."""
    clock = [time.perf_counter()]
    plan = Plan.read(path)
    clock.append(time.perf_counter())
    with UnifiedPipeline(plan, mode=Mode.COUNT) as pipeline:
        pipeline.start()
        clock.append(time.perf_counter())
        pipeline.step()
        clock.append(time.perf_counter())
        decisions, steps = [], []
        for number in range(_STEPS):
            began = time.perf_counter()
            pipeline.orchestrator.decide(pipeline.bot, step=number + 2, now_ns=time.monotonic_ns())
            decisions.append(time.perf_counter() - began)
            began = time.perf_counter()
            pipeline.step()
            steps.append(time.perf_counter() - began)
    return {
        "read": clock[1] - clock[0],
        "start": clock[2] - clock[1],
        "first": clock[3] - clock[2],
        "decision": max(decisions),
        "step": statistics.median(steps),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(Path(sys.argv[1]))) + "\n")
