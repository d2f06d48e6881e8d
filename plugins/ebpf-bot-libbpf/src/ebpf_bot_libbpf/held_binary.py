"""One binary that is attached to: the very file that was examined, held open, and mapped while it is tried."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ebpf_bot_core import Reason
from ebpf_bot_libbpf.points import Binary
from ebpf_bot_libbpf.attacher import Refusal

__all__ = ["HeldBinary"]


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
        """Open the file unless it is open; say why not if it is gone, or is not the one that was examined."""
        if self._fd >= 0:
            return None
        path = self.file.path
        try:
            # Non-blocking, in case a FIFO took the file's place.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return Refusal(Reason.BINARY_MISSING, f"{path} was removed after it was examined")
        except OSError as error:
            reason = Reason.UNREADABLE if isinstance(error, PermissionError) else Reason.ATTACH_LIMIT
            return Refusal(reason, f"cannot open {path}: {error.strerror}")
        if not self._is_examined(os.fstat(descriptor)):
            os.close(descriptor)
            return Refusal(Reason.BINARY_REPLACED, f"{path} was changed after it was examined")
        self._fd = descriptor
        return None

    @property
    def replaced(self) -> bool:
        """Whether the path leads to another file, or none, by now: one stat(2)."""
        try:
            now = os.stat(self.file.path)  # noqa: PTH116 - called each step
        except OSError:
            return True
        return (now.st_dev, now.st_ino) != (self.file.device, self.file.inode)

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Map the executable segments into this process, so that the kernel must place every probe at once.

        Else it accepts a probe in a file that nobody has mapped unseen, and leaves it out silently later, if it is on
        an instruction that cannot be probed. Nothing of the mapping is ever run.
        """
        maps = []
        for offset, size in self.file.segments:
            start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            # A file system mounted noexec forbids it; nobody runs these binaries then.
            with suppress(PermissionError):
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
