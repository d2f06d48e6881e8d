"""The live progress line on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ebpf_bot_core.hookspecs import hookimpl
from ebpf_bot_core.verdicts import Verdict

if TYPE_CHECKING:
    from ebpf_bot_core.run import Run
    from ebpf_bot_core.step import Step

__all__ = ["Progress"]

_REFRESH_SECONDS: Final = 0.1


class Progress:
    """An observer that shows one line, on a terminal only: seconds, coverage, signals.

    Args:
        stream: where to.
        shares_terminal: a covered command writes to the same terminal; then the line ends when the command begins,
            since two writers would garble each other.
    """

    def __init__(self, stream: TextIO, *, shares_terminal: bool) -> None:
        self._shares_terminal = shares_terminal
        self._console = Console(file=stream)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._shown_at = 0.0
        self._began = time.monotonic()
        self._signals = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
            self._live.update(Text("finding probes …", "bright_black"), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @hookimpl
    def ebpf_bot_run_started(self, run: Run) -> None:
        """Say that attaching begins."""
        self._live.update(Text(f"attaching with {run.backend} …", "bright_black"), refresh=True)

    @hookimpl
    def ebpf_bot_step_finished(self, step: Step) -> None:
        """Show how far it is; at most ten times a second."""
        if self._shares_terminal:
            self._live.stop()
            return
        self._signals += step.signals
        now = time.monotonic()
        if not self._live.is_started or now - self._shown_at < _REFRESH_SECONDS:
            return
        self._shown_at = now
        totals = step.coverage.totals
        fired = totals[Verdict.FIRED]
        possible = step.coverage.expected - totals[Verdict.EXCLUDED]
        self._live.update(
            Text.assemble(
                (f"{now - self._began:6.1f} s  ", "bright_black"),
                (f"{fired:,}", "green"),
                f" of {possible:,} fired  {self._signals:,} signals  ",
                (step.decision.next_probe, "bright_black"),
                no_wrap=True,
                overflow="ellipsis",
            ),
            refresh=True,
        )
