"""What the kernel can do, found by trying it on a program that does nothing."""

from __future__ import annotations

import os
from typing import Final

from ebpf_bot_libbpf import syscalls
from ebpf_bot_libbpf.abi import AttachType, ProgramType
from ebpf_bot_libbpf.kernel_error import KernelError

__all__ = ["try_program", "try_uprobe_multi"]

_RETURN_0: Final = bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit


def try_program() -> KernelError | None:
    """Load a tracing program that does nothing; return the kernel's answer if it refuses."""
    return _try(AttachType.NONE)


def try_uprobe_multi() -> KernelError | None:
    """Load one for uprobe_multi, kernel 6.6; return the kernel's answer if it refuses."""
    return _try(AttachType.UPROBE_MULTI)


def _try(attach_type: AttachType) -> KernelError | None:
    try:
        os.close(syscalls.load_program(_RETURN_0, type=ProgramType.KPROBE, attach_type=attach_type))
    except KernelError as error:
        return error
    return None
