"""Stages without a pipeline: an injector finds and attaches, a receiver gives batches, a processor changes them.

This is all that a system needs which has a loop, a store and a judgement of its own, such as a retrieval pipeline
that turns signals into documents.

    python examples/stages_alone.py
"""

from __future__ import annotations

import contextlib

import attrs
import numpy as np

from ebpf_bot_core import Mode, Plugins, ProbePattern, ProbeTable, Scope, SignalBatch, Verdict


class Summary:
    """A `SignalProcessor` that makes one signal of all those of a probe."""

    def process(self, batch: SignalBatch) -> SignalBatch:
        """Return one record a probe: the latest, with all hits."""
        rows, last = np.unique(batch.records["probe"][::-1], return_index=True)
        records = batch.records[::-1][last]
        hits = np.zeros(len(batch.probes), np.uint64)
        np.add.at(hits, batch.records["probe"], batch.records["count"])
        records["count"] = hits[rows]
        return attrs.evolve(batch, records=records)


def main() -> None:
    """Receive three batches in stream mode and print their summaries."""
    plugins = Plugins()
    options = {"wait": False, "start_time": 1_767_225_600_000_000_000}
    injector = plugins.get("injector", "simulated").build(options)
    receiver = plugins.get("receiver", "simulated").build({})
    processor = Summary()

    with contextlib.closing(injector), contextlib.closing(receiver):
        found = injector.find(
            [ProbePattern.parse("uprobe:checkout:*_payment"), ProbePattern.parse("syscall:open*")]
        )
        probes = ProbeTable.of(row.probe for row in found if row.verdict is Verdict.PENDING)
        with injector.open(probes, scope=Scope.HOST, mode=Mode.STREAM, keep=True) as injection:
            outcome = injection.attach(np.arange(len(probes)))
            print(int((outcome.columns["verdict"] == Verdict.SILENT).sum()), "of", len(found), "attached")
            for _ in range(3):
                batch = receiver.receive(injection, timeout=0.1)
                print(len(batch), "signals,", batch.lost, "lost")
                for signal in processor.process(batch):
                    print("  ", signal.probe, signal.count, "by", signal.comm)


if __name__ == "__main__":
    main()
