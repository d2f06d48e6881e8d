"""Carrying out a decision on an injection, and entering what that costs where it is kept."""

from __future__ import annotations

import time

import numpy as np

from ebpf_bot_core.coverage import CoverageBot
from ebpf_bot_core.orchestrator import CoverageOrchestrator, Decision
from ebpf_bot_core.telemetry.instruments import Instruments
from ebpf_bot_core.telemetry.stages import TracedInjection
from ebpf_bot_core.verdicts import Verdict

__all__ = ["account", "carry_out"]


def carry_out(
    decision: Decision, injection: TracedInjection, bot: CoverageBot, orchestrator: CoverageOrchestrator
) -> None:
    """Attach and detach what a decision says, and note how it went and how long it took."""
    bot.leave_out(decision.left_out)
    if not (len(decision.attach) or len(decision.detach)):
        return
    began = time.thread_time_ns()
    outcomes = injection.exchange(decision.attach, decision.detach)
    if len(decision.detach):
        # CPU time, as the ledger has it: a busy machine makes a round take long, and not cost more.
        orchestrator.stepping_off.took((time.thread_time_ns() - began) / 1e9)
    now = time.monotonic_ns()
    bot.detach(decision.detach, now)
    bot.attach(decision.attach[outcomes.columns["verdict"] == Verdict.SILENT], now)
    bot.absorb(outcomes)
    if len(decision.priced_out):
        limit = orchestrator.max_overhead or 0.0
        bot.price_out(decision.priced_out, decision.rates, limit)


def account(injection: TracedInjection, bot: CoverageBot, instruments: Instruments) -> None:
    """Enter what the probes have cost so far, and record the share of a CPU that they cost now."""
    cost = injection.cost()
    bot.account(np.asarray(cost, np.float64), time.monotonic_ns())
    ratio = bot.ledger.ratio
    if ratio is not None:
        instruments.cost(ratio)
