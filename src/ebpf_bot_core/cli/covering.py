"""What `ebpf-bot run` does once its words are understood: covers, reports, judges."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from ebpf_bot_core.cli.interrupts import Interrupts
from ebpf_bot_core.command import Command
from ebpf_bot_core.coverage import CoverageMap
from ebpf_bot_core.pipeline import UnifiedPipeline
from ebpf_bot_core.plan import Plan
from ebpf_bot_core.plugins import Plugins
from ebpf_bot_core.reports.document import CoverageDocument
from ebpf_bot_core.run import Mode, Run
from ebpf_bot_core.telemetry.otlp import exporting

__all__ = ["cover"]

_GATE_FAILED = 1


def cover(
    plan: Plan,
    argv: Sequence[str],
    *,
    mode: str,
    keep: bool,
    seconds: float | None,
    seed: int,
    as_json: bool,
    stream: TextIO,
) -> int:
    """Run a plan to its end, write the report to `stream`, and return the exit status."""
    command = Command(argv, stdout=sys.stderr if as_json else None) if argv else None
    plugins = Plugins()
    progress = _progress(plugins, shares_terminal=command is not None)
    with (
        exporting(),
        UnifiedPipeline(plan, mode=Mode(mode), keep=keep, seed=seed, plugins=plugins) as pipeline,
        Interrupts(pipeline, command) as interrupts,
    ):
        with progress:
            coverage = pipeline.run(seconds=seconds, command=command)
        record = pipeline.record
        report = plugins.get("report", "json" if as_json else "text").build({})
        report.write(CoverageDocument.of([(record, coverage.evidence)]), stream)
        stream.flush()
    if command is not None and command.exit_status is None:
        return interrupts.exit_status
    return _judge(plan, coverage, record)


def _progress(plugins: Plugins, *, shares_terminal: bool) -> AbstractContextManager[object]:
    """Return what shows the progress, on a terminal only."""
    if not sys.stderr.isatty():
        return nullcontext()
    # Importing rich takes longer than attaching thousands of probes, so it waits until there is something to show.
    from ebpf_bot_core.cli.progress import Progress  # noqa: PLC0415

    progress = Progress(sys.stderr, shares_terminal=shares_terminal)
    plugins.add(progress, name="progress")
    return progress


def _judge(plan: Plan, coverage: CoverageMap, record: Run) -> int:
    goal = plan.goal.fail_under
    ratio = coverage.ratio
    if goal is not None and (ratio is None or ratio < goal.ratio):
        reached = "no probe that could fire was" if ratio is None else f"{ratio:.2%} of the probes were"
        sys.stderr.write(f"coverage gate failed: {reached} covered, {goal.value:g}% are demanded\n")
        return _GATE_FAILED
    return record.exit_status or 0
