"""Compare ebpf-bot with its peers: one command, one run, one table, one picture.

    python -m benchmarks.comparison [--rounds 3] [--peer-functions 100] [--only functions,syscalls] [--output docs]

Every workload's variants take turns, and what is compared is the median of the rounds' ratios. bpftrace, bcc and perf
detach one probe at a time, at 75 to 115 ms each, so they get 100 functions; `--peer-functions 2000` takes four minutes
a tool and a round. Results go to `docs/assets/benchmark.json` and `.svg`, and into the page `docs/benchmarks.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

from benchmarks.comparison import machine, page, plot
from benchmarks.comparison.bench import Bench
from benchmarks.comparison.isolation import no_uprobe_events_left
from benchmarks.comparison.peers.ebpf_bot import EbpfBot
from benchmarks.comparison.peers.roster import peers
from benchmarks.comparison.results import BOT, Results
from benchmarks.comparison.workloads import functions, idle, library, million, python_script, syscalls

_WORKLOADS = {
    "functions": functions.measure,
    "library": library.measure,
    "python": python_script.measure,
    "syscalls": syscalls.measure,
    "million": million.measure,
    "idle": idle.measure,
}


def main() -> int:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-functions", type=int, default=100)
    parser.add_argument("--only", help="some of: " + ",".join(_WORKLOADS))
    parser.add_argument("--seconds", type=float, default=120, help="after which a tool is killed")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[2] / "docs")
    parser.add_argument(
        "--again", action="store_true", help="measure nothing: write page and picture of the last run"
    )
    options = parser.parse_args()
    results_file = options.output / "assets" / "benchmark.json"
    if options.again:
        results = Results.read(results_file)
    else:
        if os.geteuid():
            sys.stderr.write("the peers need root, and so does this benchmark\n")
            return 2
        chosen = options.only.split(",") if options.only else list(_WORKLOADS)
        with tempfile.TemporaryDirectory() as folder, no_uprobe_events_left() as group:
            every = peers(group)
            versions = {BOT: EbpfBot().version(), **{tool.name: tool.version() for tool in every}}
            results = Results(
                machine.describe(),
                versions,
                shlex.join(["python", "-m", "benchmarks.comparison", *sys.argv[1:]]),
            )
            bench = Bench(
                results,
                Path(folder),
                [tool for tool in every if versions[tool.name]],
                options.rounds,
                options.peer_functions,
                options.seconds,
            )
            for tool in every:
                if not versions[tool.name]:
                    bench.say(f"{tool.name} is not installed: apt-get install {tool.package}")
            for name in chosen:
                _WORKLOADS[name](bench)
            bench.say("done")
        results.join_rows_of(options.output / "assets" / "benchmark-stream.json")
        results_file.parent.mkdir(exist_ok=True)
        results_file.write_text(json.dumps(results.document(), indent=1) + "\n", encoding="utf-8")
    page.write(results, options.output)
    plot.write(results, options.output / "assets" / "benchmark.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
