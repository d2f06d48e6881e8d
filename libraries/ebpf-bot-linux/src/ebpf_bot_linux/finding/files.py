"""Files of unknown kind: opened without side effects, identified, and read in pieces that the file's size bounds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from ebpf_bot_core import Reason, Verdict
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.rooted import canonical, within_root

__all__ = ["OpenFile", "open_file"]

_MAX_SIZE: Final = 4 << 30
"""Larger than any linked program; a bound on what examining one file can cost."""

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


@attrs.frozen
class OpenFile:
    """A regular file, open for reading.

    It is read with pread(2), not mapped: a mapping of a file that somebody truncates kills the process with SIGBUS.

    Attributes:
        path: canonical; the path as it was given where that cannot be, as for a running program that was deleted, or
            a file of another mount namespace, though without links there.
        status: of the open descriptor, so that it belongs to the bytes that are read.
    """

    path: str
    descriptor: int
    status: os.stat_result

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        return self.status.st_size

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """Device, inode, mtime in ns and size: two files of one identity hold the same bytes."""
        status = self.status
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`.

        Raises:
            EOFError: some of them lie outside the file, or it has been truncated since it was opened. Nothing is
                allocated for a size that the file does not have.
            OSError: the medium failed.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise EOFError(f"bytes {offset} to {offset + size} are not in a file of {self.size} bytes")
        pieces = []
        while size > 0:
            piece = os.pread(self.descriptor, size, offset)
            if not piece:
                raise EOFError("the file was truncated while it was read")
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextmanager
def open_file(path: str) -> Iterator[OpenFile]:
    """Open a regular file for the time of the context.

    Anything else is looked at but never opened: opening a FIFO waits for a writer, opening a device can do anything.

    Args:
        path: absolute.

    Raises:
        UnprobeableError: `missing` where there is no such file, `refused` where it cannot be read or is no regular
            file of at most 4 GiB.
    """
    try:
        path = within_root(path)
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise _refusal(path, error) from error
    except UnicodeEncodeError as error:  # the locale has no such character, so no file has it in its name
        raise _refusal(path, FileNotFoundError()) from error
    try:
        descriptor = _open_regular(path, handle)
    finally:
        os.close(handle)
    try:
        status = os.fstat(descriptor)
        if status.st_size > _MAX_SIZE:
            raise UnprobeableError(
                Verdict.REFUSED,
                Reason.NOT_ELF,
                f"{path} has {status.st_size} bytes, more than any program that is examined",
            )
        yield OpenFile(_canonical(path, status), descriptor, status)
    finally:
        os.close(descriptor)


def _open_regular(path: str, handle: int) -> int:
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise UnprobeableError(Verdict.REFUSED, Reason.NOT_ELF, f"{path} is {kind}, not a program or library")
    try:
        # By way of the handle, so that what is opened is what was looked at. O_NONBLOCK: a lease that somebody holds
        # on the file makes this fail rather than wait.
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: str, error: OSError) -> UnprobeableError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UnprobeableError(Verdict.MISSING, Reason.BINARY_MISSING, f"{path} does not exist")
    return UnprobeableError(
        Verdict.REFUSED, Reason.UNREADABLE, f"{path} cannot be opened: {error.strerror or error}"
    )


def _canonical(path: str, status: os.stat_result) -> str:
    """Return the path by which a file is known, if it can be written in a probe's name."""
    for known in (canonical(path, status), path):
        if known.isprintable():
            return known
    detail = f"no probe name can spell the path {path!r}"
    raise UnprobeableError(Verdict.REFUSED, Reason.UNREADABLE, detail)
