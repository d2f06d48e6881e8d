"""Leaving some file descriptors free: for detaching, the command's pipes, the store, the exporter."""

from __future__ import annotations

import errno
import os
import resource
from typing import Final

from ebpf_bot_linux.kernel.kernel_error import KernelError

__all__ = ["refuse_if_scarce"]

_RESERVED: Final = 64


def refuse_if_scarce(action: str) -> None:
    """Raise what the kernel would, a little before it would.

    Every binary and every tracepoint takes a few descriptors, of which a process has 1,024 by default. The limit is
    not raised, because the command would inherit that.

    Raises:
        KernelError: EMFILE, if fewer than 64 are left.
    """
    try:
        lowest_free = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(action, error.errno or errno.EMFILE) from error
    os.close(lowest_free)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and lowest_free >= limit - _RESERVED:
        raise KernelError(f"{action} with `ulimit -n` at {limit}", errno.EMFILE)
