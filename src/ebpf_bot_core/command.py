"""The command that a run covers: started where the injection sees it, waited for, and signalled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO

from ebpf_bot_core.errors import EbpfBotError

__all__ = ["Command"]


class Command:
    """A program and its arguments, with this process's stdin, stdout and stderr.

    Args:
        argv: the program, found as a shell would, and its arguments.
        stdout: where its standard output goes instead of to ours.

    Raises:
        EbpfBotError: there is no such program; said before any probe is attached.
    """

    def __init__(self, argv: Sequence[str], *, stdout: IO[str] | None = None) -> None:
        if shutil.which(argv[0]) is None:
            exists = os.path.exists(argv[0])  # noqa: PTH110 - the argument may be a bare name
            raise EbpfBotError(
                f"{argv[0]}: {'not executable' if exists else 'command not found'}",
                hint="check the spelling and PATH; the command stands behind --",
            )
        self.argv = tuple(argv)
        self._stdout = stdout
        self._process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1

    def start(self, following: AbstractContextManager[None]) -> None:
        """Start the program inside the context in which an injection follows it."""
        with following:
            try:
                # Python's environment, and not C's: that one may hold what another thread needs for a moment.
                self._process = subprocess.Popen(  # noqa: S603 - the user's own
                    self.argv, stdout=self._stdout, env=os.environ
                )
            except OSError as error:
                raise EbpfBotError(
                    f"{self.argv[0]}: {error.strerror}", hint="the program could not be executed"
                ) from error
        self.pidfd = os.pidfd_open(self._process.pid)

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Its exit status, 128+n where signal n ended it; None before its end."""
        code = self._process.poll() if self._process else None
        return 128 - code if code is not None and code < 0 else code

    def signal(self, number: int) -> None:
        """Pass a signal on; nothing happens if it has ended."""
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        if self._process is not None:
            self._process.wait()
            self._forget()

    def end(self, *, grace: float = 5.0) -> None:
        """See that it has ended: where it still runs, SIGTERM it, and after `grace` seconds SIGKILL it."""
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
        self.wait()

    def _forget(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
