"""Running a pipeline to its end: step after step, with or without a command to cover."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ebpf_bot_core.command import Command
from ebpf_bot_core.coverage import CoverageMap
from ebpf_bot_core.errors import EbpfBotError, NothingAttachedError
from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.pace import Pace
from ebpf_bot_core.verdicts import Verdict

if TYPE_CHECKING:
    from ebpf_bot_core.pipeline import UnifiedPipeline

__all__ = ["run_to_end"]


def run_to_end(pipeline: UnifiedPipeline, pace: Pace, command: Command | None) -> CoverageMap:
    """Step until it is over; then detach, end the command where it outlives the run, and keep the last record.

    It is over when the pace's time is up, when the command has ended, or, with neither, when no gap is left.

    Raises:
        NothingAttachedError: not one probe could be attached; the command has not been started.
        EbpfBotError: a stage failed. What was saved stays; the command runs on to its end, uncovered.
    """
    try:
        pipeline.start(command=command.argv if command else ())
        gap = _turn(pipeline, pace)
        if not (pipeline.bot.attached.any() or pipeline.bot.evidence.fired.any()):
            pipeline.finish()
            raise _nothing_attached(pipeline.bot.evidence)
        if command is not None and not pace.time_is_up:
            command.start(pipeline.follow())
        while not _is_over(pace, command, gap):
            pace.wait(until_readable=command.pidfd if command else -1)
            gap = _turn(pipeline, pace)
        pipeline.detach_all()
        if command is not None:
            command.end()
        return pipeline.finish(exit_status=command.exit_status if command else None)
    except EbpfBotError:
        pipeline.close()
        if command is not None:
            command.wait()
        raise


def _turn(pipeline: UnifiedPipeline, pace: Pace) -> str:
    step = pipeline.step()
    pace.found(len(step.changes), step.signals)
    return step.decision.next_probe


def _is_over(pace: Pace, command: Command | None, gap: str) -> bool:
    if pace.time_is_up:
        return True
    if command is not None:
        return not command.running
    return not pace.has_an_end and not gap


def _nothing_attached(evidence: Evidence) -> NothingAttachedError:
    """Return the error that says why nothing of a plan can be attached."""
    # What is excluded explains nothing, unless nothing else was found.
    possible = [row for row in evidence if row.verdict is not Verdict.EXCLUDED]
    kinds = Counter((row.verdict, row.reason) for row in possible or evidence)
    (verdict, reason), _ = kinds.most_common(1)[0]
    example = next(row for row in evidence if (row.verdict, row.reason) == (verdict, reason))
    if len(evidence) == 1:
        counted = f"{example.probe} is {verdict.label} ({reason.code})"
    else:
        counted = ", ".join(f"{n} {v.label} ({r.code})" for (v, r), n in kinds.most_common())
    detail = f": {example.detail}" if example.detail else ""
    return NothingAttachedError(f"nothing of the plan can be attached: {counted}{detail}", hint=reason.hint)
