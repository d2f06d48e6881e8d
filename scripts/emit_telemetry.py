"""Sends one of everything that ebpf-bot can emit to where `OTEL_EXPORTER_OTLP_ENDPOINT` says: each span, each metric, a log.

Nothing is probed, and nothing is counted as an error. What it prints and how it exits is as in emit_trace.py.
"""

from __future__ import annotations

import os
import sys

from emitting import emit

from ebpf_bot_core import Evidence, Mode, ProbeTable, Run, Scope, Verdict
from ebpf_bot_core.coverage import CoverageMap
from ebpf_bot_core.telemetry import names
from ebpf_bot_core.telemetry.instruments import Instruments
from ebpf_bot_core.telemetry.logs import traced_logger

PROBE = "uprobe:/usr/bin/checkout:main"
HOST = "host.name=emit-telemetry"
"""A host of its own, so that no chart and no alert takes this for coverage of a real one."""


def one_of_everything() -> None:
    """Emit each name of `telemetry/names.py` once."""
    run = Run.begin(
        backend="emit_telemetry",
        plan_name="emit_telemetry",
        plan_digest="",
        mode=Mode.COUNT,
        scope=Scope.HOST,
        command=(),
    )
    instruments = Instruments()
    with instruments.step(run, 1) as step:
        step.add_event(names.COVERAGE_RECEIVED)
        for name in names.SPANS:
            if name != names.STEP:
                with instruments.stage(name, "emit_telemetry") as span:
                    for event in (event for event, where in names.EVENTS.items() if where == name):
                        span.add_event(event)
        instruments.decided("emit_telemetry", 0.25)
        instruments.received(1, 0)
        evidence = Evidence.pending(ProbeTable((PROBE,)))
        evidence.columns["verdict"] = Verdict.FIRED
        instruments.covered(CoverageMap(evidence))
        instruments.cost(0.001)
        step.add_event(names.DECISION_MADE, {names.PIPELINE_NEXT_PROBE: PROBE})
        traced_logger("ebpf_bot_core.emit_telemetry").info("one of everything was emitted")
    print(f"metrics: {', '.join(names.METRICS)}")
    print("logs: one of everything was emitted")


if __name__ == "__main__":
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = f"{given},{HOST}" if given else HOST
    sys.exit(emit(one_of_everything))
