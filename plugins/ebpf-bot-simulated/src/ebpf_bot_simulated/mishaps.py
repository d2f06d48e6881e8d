"""Mishaps: calls that fail as a whole, as they do without privileges or when the kernel runs out of something."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping
from typing import Final

from ebpf_bot_core import BackendError, Reason

__all__ = ["Mishaps"]

_ERRORS: Final[Mapping[str, tuple[str, str, int]]] = {
    "find": ("the symbol index cannot be built", "free some memory", errno.ENOMEM),
    "open": ("no eBPF program can be loaded: Operation not permitted", Reason.PERMISSION.hint, errno.EPERM),
    "attach": ("the link cannot be created: Too many open files", "raise `ulimit -n`", errno.EMFILE),
    "detach": ("the link cannot be changed: Cannot allocate memory", "free some memory", errno.ENOMEM),
    "inspect": ("the counters cannot be read: Bad file descriptor", "start the run again", errno.EBADF),
    "receive": ("the ring buffer cannot be read: Bad file descriptor", "start the run again", errno.EBADF),
}


class Mishaps:
    """Counts the calls of an injector and what it opened, and fails those that the plan says.

    Args:
        fail_at: from a call to the number of the one that fails, as in the option of this name.
    """

    def __init__(self, fail_at: Mapping[str, int]) -> None:
        self._fail_at = fail_at
        self._calls: Counter[str] = Counter()

    def befall(self, call: str) -> None:
        """Count one call; BackendError if it is the one that fails."""
        self._calls[call] += 1
        if self._fail_at.get(call) == self._calls[call]:
            message, hint, number = _ERRORS[call]
            raise BackendError(f"simulated: {message}", hint=hint, errno=number)
