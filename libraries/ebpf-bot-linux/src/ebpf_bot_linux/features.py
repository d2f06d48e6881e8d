"""What the kernel can do, found by trying it on a program that does nothing."""

from __future__ import annotations

import errno
import os
from typing import Final, Self

import attrs
import numpy as np

from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.abi import AttachType, ProgramType
from ebpf_bot_linux.kernel.kernel_error import KernelError

__all__ = [
    "Features",
    "try_fentry",
    "try_kprobe_multi",
    "try_program",
    "try_raw_cookies",
    "try_uprobe_multi",
]

_NO_NAME: Final = "no name has a space"
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


def try_kprobe_multi() -> KernelError | None:
    """Say whether the kernel knows kprobe_multi, 5.18 with CONFIG_FPROBE; return its answer if not.

    It is asked to probe a function of a name that none can have. A kernel that knows kprobe_multi does not find it
    (ESRCH); one without fprobes does not look (EOPNOTSUPP), and an older one objects to the kind of link (EINVAL).
    """
    try:
        program = syscalls.load_program(
            _RETURN_0, type=ProgramType.KPROBE, attach_type=AttachType.KPROBE_MULTI
        )
    except KernelError as error:
        return error
    try:
        os.close(syscalls.attach_kprobes(program, [_NO_NAME], np.ones(1, np.uint64), on_return=False))
    except KernelError as error:
        return None if error.errno in (errno.ESRCH, errno.ENOENT) else error
    finally:
        os.close(program)
    return None


def try_raw_cookies() -> KernelError | None:
    """Say whether raw tracepoints can have cookies, 6.10; return the kernel's answer if not.

    A tracepoint that is not there is asked for: a kernel that knows cookies says so (ENOENT), one that does not
    objects to the cookie first (EINVAL).
    """
    try:
        program = syscalls.load_program(_RETURN_0, type=ProgramType.RAW_TRACEPOINT)
    except KernelError as error:
        return error
    try:
        os.close(syscalls.open_raw_tracepoint(program, _NO_NAME, cookie=1))
    except KernelError as error:
        return None if error.errno == errno.ENOENT else error
    finally:
        os.close(program)
    return None


def try_fentry(btf_id: int) -> KernelError | None:
    """Load a program for the entry of a function of the kernel, attach it nowhere; return the kernel's answer if it refuses."""
    try:
        program = syscalls.load_program(
            _RETURN_0, type=ProgramType.TRACING, attach_type=AttachType.TRACE_FENTRY, btf_id=btf_id
        )
    except KernelError as error:
        return error
    os.close(program)
    return None


@attrs.frozen
class Features:
    """Which of the better ways the kernel has; where it has not, a slower one gives the same counts.

    Attributes:
        uprobe_multi: one link for all places in a binary, else a perf event each.
        kprobe_multi: likewise for functions of the kernel.
        raw_cookies: one program for all raw tracepoints, else one each.
    """

    uprobe_multi: bool
    kprobe_multi: bool
    raw_cookies: bool

    @classmethod
    def here(cls) -> Self:
        """Try them."""
        return cls(
            uprobe_multi=try_uprobe_multi() is None,
            kprobe_multi=try_kprobe_multi() is None,
            raw_cookies=try_raw_cookies() is None,
        )
