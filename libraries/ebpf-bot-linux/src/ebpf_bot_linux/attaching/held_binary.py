"""One binary that is attached to: the very file that was examined, held open, and mapped while it is tried."""

from __future__ import annotations

import enum
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_linux.attaching.attacher import Refusal
from ebpf_bot_linux.kernel.descriptors import refuse_if_scarce
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.points import Binary

__all__ = ["Fate", "HeldBinary"]


class Fate(enum.Enum):
    """What has become of a binary's path; the value says it in a sentence."""

    SAME = ""
    REPLACED = "the path leads to another file by now, and the probes stay with the old one"
    OVERWRITTEN = (
        "the file was overwritten in place; its probes were taken off, lest they damage the new code"
    )


class HeldBinary:
    """A binary for attaching; its file is opened once, so that what was checked is what is attached to."""

    def __init__(self, file: Binary) -> None:
        self.file = file
        self._fd = -1

    @property
    def path(self) -> str:
        """A name by which the kernel finds the open file, whatever its path leads to by now."""
        return f"/proc/self/fd/{self._fd}"

    def open(self) -> Refusal | None:
        """Open the file, once; say why not where it is gone, or no longer the one that was examined."""
        path = self.file.path
        try:
            if self._fd < 0:
                refuse_if_scarce(f"open {path}")
                # Non-blocking, in case a FIFO took the file's place.
                self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return Refusal(Reason.BINARY_MISSING, f"{path} was removed after it was examined")
        except PermissionError:
            return Refusal(Reason.UNREADABLE, f"{path} may not be read any more")
        except OSError as error:
            return Refusal.of(KernelError(f"open {path}", error.errno or 0))
        except KernelError as error:
            return Refusal.of(error)
        if not self._is_examined(os.fstat(self._fd)) or self.fate() is not Fate.SAME:
            return Refusal(Reason.BINARY_REPLACED, f"{path} was changed after it was examined")
        return None

    def fate(self) -> Fate:
        """Say whether the path still leads to the file that was examined: one stat(2)."""
        try:
            now = os.stat(self.file.path)  # noqa: PTH116 - called each second for every binary
        except OSError:
            return Fate.SAME  # a program that was deleted while it runs can be probed until it ends
        if self._is_examined(now):
            return Fate.SAME
        same_file = (now.st_dev, now.st_ino) == (self.file.device, self.file.inode)
        return Fate.OVERWRITTEN if same_file else Fate.REPLACED

    def is_overwritten(self) -> bool:
        """Whether the open file has changed, whatever its path leads to by now: one fstat(2); false if none is open.

        This is for paths below /proc/PID/root: another process may have that id by now.
        """
        return self._fd >= 0 and not self._is_examined(os.fstat(self._fd))

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Map the executable segments into this process, so that the kernel must place every probe at once.

        Else it accepts a probe in a file that nobody has mapped unseen, and leaves it out silently later, if it is on
        an instruction that cannot be probed. Nothing of the mapping is ever run.
        """
        maps = []
        for offset, size in self.file.segments:
            start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            # Where that is forbidden, as on a file system mounted noexec, there is only what the kernel says later.
            with suppress(OSError):
                maps.append(
                    mmap.mmap(
                        self._fd,
                        offset + size - start,
                        flags=mmap.MAP_PRIVATE,
                        prot=mmap.PROT_READ | mmap.PROT_EXEC,
                        offset=start,
                    )
                )
        try:
            yield
        finally:
            for mapping in maps:
                mapping.close()

    def code(self, offsets: NDArray[np.uint64], size: int) -> NDArray[np.uint8]:
        """Return `size` bytes from each of some offsets, shape (n, size), zeros behind the file's end."""
        pieces = [os.pread(self._fd, size, offset).ljust(size, b"\0") for offset in offsets.tolist()]
        return np.frombuffer(b"".join(pieces), np.uint8).reshape(-1, size)

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_examined(self, now: os.stat_result) -> bool:
        return (now.st_dev, now.st_ino, now.st_mtime_ns, now.st_size) == (
            self.file.device,
            self.file.inode,
            self.file.mtime_ns,
            self.file.size,
        )
