"""The plan that runs when none is given."""

from __future__ import annotations

from typing import Final

import attrs

from ebpf_bot_core.plan import Plan, StageChoice, Stages

__all__ = ["BUILT_IN_PLAN"]

BUILT_IN_PLAN: Final = attrs.evolve(
    Plan.of(
        ["uprobe:/usr/bin/checkout:*", "syscall:openat", "tracepoint:sched:sched_switch"], name="built-in"
    ),
    stages=Stages(
        injector=StageChoice("simulated"), store=StageChoice("memory"), policy=StageChoice("random")
    ),
)
"""What `UnifiedPipeline()` runs: a shop's checkout service that exists in the simulation only."""
