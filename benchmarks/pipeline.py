"""What the pipeline itself costs: a step on the simulated backend, and what each part of it takes.

Run by `make bench`. Probes 10, 5,000 and 100,000; nothing real is probed, so what remains is the loop's own work.
The last column is the ratio to a step that does nothing but receive.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from ebpf_bot_core import Evidence, Mode, Plan, ProbeTable, Reason, SignalBatch, UnifiedPipeline, Verdict
from ebpf_bot_core.stores.memory import MemoryStore


class Quiet:
    """A backend on which nothing ever fires."""

    modes = frozenset({Mode.COUNT})

    def __init__(self, count: int) -> None:
        self._table = ProbeTable(tuple(f"uprobe:/srv/app:function_{i:07d}" for i in range(count)))

    def find(self, _: object) -> Evidence:
        """Find them all."""
        return Evidence.pending(self._table)

    def open(self, probes: ProbeTable, **_: object) -> Quiet:
        """Be the injection too."""
        self.probes = probes
        self._nothing = Evidence.pending(probes)
        self._empty = SignalBatch.empty(probes)
        self._free = np.zeros(len(probes))
        return self

    def attach(self, rows) -> Evidence:  # noqa: ANN001
        """Attach everything."""
        outcomes = self._nothing.take(rows)
        outcomes.columns["verdict"] = Verdict.SILENT
        outcomes.columns["reason"] = Reason.NOT_CALLED
        return outcomes

    def detach(self, rows) -> None:  # noqa: ANN001
        """Forget."""

    def inspect(self) -> Evidence:
        """Know nothing."""
        return self._nothing

    def cost(self):  # noqa: ANN201
        """Cost nothing."""
        return self._free

    def receive(self, _: object, __: float) -> SignalBatch:
        """Receive nothing."""
        return self._empty

    def close(self) -> None:
        """Hold nothing."""


def median_us(work: Callable[[], object], rounds: int) -> float:
    """Return the median time of one call, in microseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    print(f"{'probes':>8} {'step us':>9} {'steps/s':>8} {'share of a CPU at 4 steps/s':>28}")
    for count in (10, 5_000, 100_000):
        backend = Quiet(count)
        with UnifiedPipeline(
            Plan.of(["syscall:x"]), injector=backend, receiver=backend, store=MemoryStore(), processors=()
        ) as pipeline:
            pipeline.step()
            step = median_us(pipeline.step, options.rounds if count < 100_000 else options.rounds // 10)  # noqa: PLR2004
            print(f"{count:8,} {step:9.0f} {1e6 / step:8.0f} {4 * step / 1e6:28.2%}")


if __name__ == "__main__":
    main()
