"""What the kernel says when it refuses."""

from __future__ import annotations

import errno as codes
import os
from typing import Final

from ebpf_bot_core import BackendError

__all__ = ["ENOTSUPP", "KernelError", "describe"]

ENOTSUPP: Final = 524
"""The kernel's own errno for what it does not support; the C library does not know it."""


class KernelError(BackendError):
    """What the kernel refused.

    Args:
        action: what was asked of it, in words.
        errno: its answer.
        log: the verifier's, where a program was refused.
    """

    errno: int

    def __init__(self, action: str, errno: int, log: str = "") -> None:
        super().__init__(f"cannot {action}: {describe(errno)}", errno=errno, log=log)
        self.action = action


def describe(errno: int) -> str:
    """Return an errno in words, with its symbol."""
    if errno == ENOTSUPP:
        return "Operation is not supported (ENOTSUPP)"
    return f"{os.strerror(errno)} ({codes.errorcode.get(errno, errno)})"
