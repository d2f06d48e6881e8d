"""How long a decision takes: policies over 100,000 probes, with and without a budget.

Run by `make bench`. Prints the median and the worst of many decisions, in milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import time

from ebpf_bot_core import CoverageBot, CoverageOrchestrator, Evidence, Plugins, ProbeTable


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    names = tuple(f"uprobe:/srv/app:function_{i:07d}" for i in range(options.probes))
    bot = CoverageBot([(1.0, Evidence.pending(ProbeTable(names)))])
    plugins = Plugins(entries=[])
    print(f"{'policy':12} {'budget':>8} {'median ms':>10} {'worst ms':>9}   ({options.probes:,} probes)")
    for name in plugins.names("policy"):
        for budget in (None, 4096):
            orchestrator = CoverageOrchestrator(plugins.get("policy", name).build({}), max_attached=budget)
            times = []
            for step in range(options.rounds):
                began = time.perf_counter()
                orchestrator.decide(bot, step=step + 1, now_ns=0)
                times.append((time.perf_counter() - began) * 1000)
            shown = "none" if budget is None else f"{budget:,}"
            print(f"{name:12} {shown:>8} {statistics.median(times):10.2f} {max(times):9.2f}")


if __name__ == "__main__":
    main()
