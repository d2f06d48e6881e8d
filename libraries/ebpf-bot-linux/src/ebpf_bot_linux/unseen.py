"""Opening a file system of the kernel without leaving a mount that anybody sees."""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ["open_unseen"]

# New system calls have the same numbers on x86_64, aarch64 and everywhere else.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_CMD_CREATE: Final = 6


def open_unseen(file_system: str) -> int:
    """Open the root of `tracefs`, `securityfs` or the like, mounted nowhere; return its descriptor.

    fsopen(2) and fsmount(2), kernel 5.2, CAP_SYS_ADMIN. The descriptor is good as `dir_fd` of what is opened below it.

    Raises:
        OSError: EPERM without the privilege, ENODEV where the kernel does not have it, ENOSYS before 5.2.
    """
    context = -1
    try:
        context = _system_call(_FSOPEN, file_system.encode(), _FSOPEN_CLOEXEC)
        _system_call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _system_call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
    finally:
        if context >= 0:
            os.close(context)


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    wide = [ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value) for value in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
