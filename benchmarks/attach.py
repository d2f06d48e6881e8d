"""How long covering N functions of a program takes, against bpftrace.

From the start of the tool to the start of the program, and from the end of the program to the end of the tool.
Run by `make bench`; needs the privileges that `ebpf-bot doctor` names. A C program of N functions is generated and
compiled; it prints the monotonic time at which it starts and ends. bpftrace attaches and detaches one probe at a time,
so its default is few functions; `--peer-functions 2000` takes about four minutes. A peer that is not installed is named.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs

HERE = Path(__file__).parent


@attrs.frozen
class Timing:
    """One run of a tool, in seconds."""

    until_start: float
    until_exit: float


def program(folder: Path, functions: int) -> Path:
    """Compile a program of so many functions that calls each once."""
    source = folder / f"functions{functions}.c"
    bodies = "\n".join(
        f"__attribute__((noinline, used)) unsigned long f{i:05d}(unsigned long x) {{ return x * {2 * i + 3}u; }}"
        for i in range(functions)
    )
    table = ",".join(f"f{i:05d}" for i in range(functions))
    source.write_text(f"""#include <stdio.h>
#include <time.h>
{bodies}
static unsigned long (*table[])(unsigned long) = {{{table}}};
static double now(void) {{ struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }}
int main(void) {{
  double began = now();
  unsigned long x = 1;
  for (int i = 0; i < {functions}; i++) x = table[i](x);
  printf("%.6f %.6f %lu\\n", began, now(), x);
}}
""")
    binary = source.with_suffix("")
    subprocess.run(["gcc", "-O1", "-o", binary, source], check=True)
    return binary


def timed(argv: list[str], folder: Path) -> Timing:
    """Run a tool that runs the program, and read the program's times from its output."""
    began = time.monotonic()
    done = subprocess.run(
        argv,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=580,
        env={
            **os.environ,
            "ENABLE_OTLP": "false",
            "BPFTRACE_MAX_PROBES": "20000",
            "BPFTRACE_MAX_BPF_PROGS": "20000",
        },
    )
    ended = time.monotonic()
    times = re.search(r"^(\d+\.\d+) (\d+\.\d+) \d+$", done.stdout, re.MULTILINE)
    if times is None:
        raise SystemExit(f"the program's times are not in the output of {argv[0]}:\n{done.stdout}")
    return Timing(float(times[1]) - began, ended - float(times[2]))


def ours(binary: Path) -> list[str]:
    """Return the command line of ebpf-bot."""
    return [
        sys.executable,
        "-m",
        "ebpf_bot_core",
        "run",
        "--expect",
        f"uprobe:{binary}:f0*",
        "--",
        str(binary),
    ]


def bpftrace(binary: Path) -> list[str]:
    """Return that of bpftrace, with a tracefs of its own."""
    traced = f"bpftrace -c {binary} -e 'uprobe:{binary}:f0* {{ @[probe] = count(); }}'"
    mounts = "mount -t tracefs tracefs /sys/kernel/tracing; mount -t debugfs debugfs /sys/kernel/debug"
    return ["unshare", "-m", "sh", "-c", f"ulimit -n $(ulimit -Hn); {mounts}; exec {traced}"]


def show(tool: str, functions: int, timings: list[Timing]) -> None:
    """Print a row of medians."""
    start = statistics.median(timing.until_start for timing in timings)
    end = statistics.median(timing.until_exit for timing in timings)
    print(f"{tool:10} {functions:>9,} {start:>15.3f} {end:>13.3f}", flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-functions", type=int, default=100)
    options = parser.parse_args()
    print(f"{'tool':10} {'functions':>9} {'until start s':>15} {'until exit s':>13}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for functions in sorted({100, 2_000, 10_000, options.peer_functions}):
            binary = program(folder, functions)
            show("ebpf-bot", functions, [timed(ours(binary), folder) for _ in range(options.rounds)])
            if functions <= options.peer_functions:
                if shutil.which("bpftrace"):
                    show("bpftrace", functions, [timed(bpftrace(binary), folder)])
                else:
                    print("bpftrace   is not installed: apt-get install bpftrace")


if __name__ == "__main__":
    main()
