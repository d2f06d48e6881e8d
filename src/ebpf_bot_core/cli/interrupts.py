"""SIGINT, SIGTERM and SIGHUP during a run: passed on to the command, and answered with a whole report."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any, Final, Self

from ebpf_bot_core.command import Command
from ebpf_bot_core.pipeline import UnifiedPipeline

__all__ = ["Interrupts"]

_GRACE: Final = 5.0
"""Seconds that a signalled command has to end by itself."""


class Interrupts:
    """Handles the signals that end a run, for as long as the context is open.

    Without a command the run ends at once, with its report. With one, the signal is passed on, and the run ends with
    the command, or 5 seconds later; a second signal ends it at once. Ctrl-C at a terminal reaches the command by
    itself, and the command may well mean to go on (a shell does), so the first one is left to it.
    """

    def __init__(self, pipeline: UnifiedPipeline, command: Command | None) -> None:
        self._pipeline = pipeline
        self._command = command
        self._before: dict[int, Any] = {}
        self._received: list[int] = []

    @property
    def exit_status(self) -> int:
        """128+n for the first signal n that came; 0 if none did."""
        return 128 + self._received[0] if self._received else 0

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # What whoever started us ignores (nohup does) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._received.append(number)
        command = self._command
        if command is None or not command.running or len(self._received) > 1:
            self._pipeline.stop()
        elif number == signal.SIGINT and _at_foreground_of_terminal():
            return
        else:
            command.signal(number)
            self._pipeline.stop(within=_GRACE)


def _at_foreground_of_terminal() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
