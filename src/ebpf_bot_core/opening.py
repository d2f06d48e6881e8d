"""Opening the injection of a run, or stating as evidence why it cannot be opened."""

from __future__ import annotations

import errno

import numpy as np

from ebpf_bot_core.assembly import Assembly
from ebpf_bot_core.coverage import CoverageBot
from ebpf_bot_core.errors import BackendError
from ebpf_bot_core.evidence import Evidence
from ebpf_bot_core.run import Mode, Scope
from ebpf_bot_core.telemetry.stages import TracedInjection
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["open_injection"]


def open_injection(
    stages: Assembly, bot: CoverageBot, *, scope: Scope, mode: Mode, keep: bool
) -> TracedInjection:
    """Open an injection on the bot's table.

    Raises:
        BackendError: the backend cannot work here; the bot then knows every probe that was pending as refused.
    """
    if mode not in stages.injector.modes:
        served = ", ".join(sorted(stages.injector.modes))
        raise BackendError(f"backend {stages.backend!r} has no {mode} mode", hint=f"it has: {served}")
    try:
        return stages.injector.open(bot.probes, scope=scope, mode=mode, keep=keep)
    except BackendError as error:
        denied = error.errno in (errno.EPERM, errno.EACCES)
        reason = Reason.PERMISSION if denied else Reason.ATTACH_FAILED
        pending = np.flatnonzero(bot.evidence.columns["verdict"] == Verdict.PENDING)
        bot.absorb(
            Evidence.stating(
                (bot.probes[row], Verdict.REFUSED, reason, error.message) for row in pending.tolist()
            )
        )
        raise
