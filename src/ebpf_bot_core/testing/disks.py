"""Small disks that only one child process sees, for tests of what happens when a disk is full or read-only.

Linux; needs CAP_SYS_ADMIN. Call these in a forked child alone (see `processes.in_child`): they move the calling process
into a mount namespace of its own, and with that process the disk is gone.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

import pytest

__all__ = ["make_read_only", "mount_small_disk"]

_CLONE_NEWNS: Final = 0x0002_0000
_MS_RDONLY: Final = 1
_MS_REMOUNT: Final = 1 << 5
_MS_PRIVATE_EVERYWHERE: Final = (1 << 18) | (1 << 14)


def mount_small_disk(directory: Path, *, kibibytes: int) -> None:
    """Mount an empty file system in memory on a directory; the test is skipped where that is not allowed."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        pytest.skip(f"no mount namespace for this user: {os.strerror(ctypes.get_errno())}")
    _mount("none", "/", "", _MS_PRIVATE_EVERYWHERE, "")
    _mount("tmpfs", str(directory), "tmpfs", 0, f"size={kibibytes}k")


def make_read_only(directory: Path) -> None:
    """Forbid all writing on a disk that `mount_small_disk` has mounted; no file on it may be open for writing."""
    _mount("none", str(directory), "", _MS_REMOUNT | _MS_RDONLY, "")


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    words = (os.fsencode(word) for word in (source, target, kind))
    if ctypes.CDLL(None, use_errno=True).mount(*words, ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)
