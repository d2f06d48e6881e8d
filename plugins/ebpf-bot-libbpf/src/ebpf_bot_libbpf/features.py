"""What the kernel can do, found by trying it on a program that does nothing."""

from __future__ import annotations

import errno
import os
from typing import Final

import numpy as np

from ebpf_bot_libbpf.kernel import syscalls
from ebpf_bot_libbpf.kernel.abi import AttachType, ProgramType
from ebpf_bot_libbpf.kernel.kernel_error import KernelError

__all__ = ["try_program", "try_uprobe_multi"]

_RETURN_0: Final = bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit


def try_program() -> KernelError | None:
    """Load a tracing program; return the kernel's answer if it refuses."""
    try:
        os.close(syscalls.load_program(_RETURN_0, type=ProgramType.KPROBE))
    except KernelError as error:
        return error
    return None


def try_uprobe_multi() -> KernelError | None:
    """Say whether the kernel knows uprobe_multi, 6.6; return its answer if not.

    It is asked to probe a directory. A kernel that knows it objects to that (EBADF), one that does not objects to the
    kind of link (EINVAL), although it loads the program without a word.
    """
    try:
        program = syscalls.load_program(
            _RETURN_0, type=ProgramType.KPROBE, attach_type=AttachType.UPROBE_MULTI
        )
    except KernelError as error:
        return error
    nowhere = np.zeros(1, np.uint64)
    try:
        os.close(syscalls.attach_uprobes(program, "/", nowhere, nowhere, on_return=False))
    except KernelError as error:
        return None if error.errno == errno.EBADF else error
    finally:
        os.close(program)
    return None
