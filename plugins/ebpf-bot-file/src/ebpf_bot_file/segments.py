"""The files of a store: which there are, how they are named, and how one grows.

A segment belongs to one run and to the one process that made it, so writers never meet. It is named
`RUN.NUMBER.jsonl`; the numbers of a run rise in the order in which its segments were made.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from pathlib import Path
from typing import Final

import attrs

__all__ = ["Segment", "find_segments", "stem_of"]

_NAME: Final = re.compile(r"(?P<stem>[^/]+)\.(?P<number>[0-9]{6,})\.jsonl")
_PLAIN_ID: Final = re.compile(r"[0-9a-z][0-9a-z_-]{0,63}")
_TRIES: Final = 1000


def stem_of(run_id: str) -> str:
    """Return what the names of a run's segments begin with: its id, or a digest where that is no plain word."""
    if _PLAIN_ID.fullmatch(run_id):
        return run_id
    return "sha256." + hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()


def find_segments(directory: Path) -> dict[str, list[Path]]:
    """Return the segments in a directory by stem, those of each in the order in which they were made.

    Raises:
        OSError: there is no such directory, or it cannot be read.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(path.name for path in directory.iterdir()):
        match = _NAME.fullmatch(name)
        if match:
            found.setdefault(match["stem"], []).append(name)
    return {stem: [directory / name for name in sorted(names, key=_number)] for stem, names in found.items()}


def _number(name: str) -> int:
    return int(name.split(".")[-2])


@attrs.define
class Segment:
    """A segment that this process appends to.

    Attributes:
        size: bytes of whole records in it.
        usable: False after a failure that left something torn at its end, which readers cut off; what comes next
            needs a segment of its own.
    """

    run_id: str
    path: Path
    size: int = 0
    usable: bool = True
    _file: int = attrs.field(default=-1, repr=False)

    @classmethod
    def create(cls, directory: Path, run_id: str) -> Segment:
        """Make the next segment of a run; OSError if that cannot be done."""
        stem = stem_of(run_id)
        made = find_segments(directory).get(stem)
        first = _number(made[-1].name) + 1 if made else 1
        for number in range(first, first + _TRIES):
            path = directory / f"{stem}.{number:06}.jsonl"
            with contextlib.suppress(FileExistsError):
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
                # Shows readers that a record may be half written because its writer is not done, and not because it
                # died. Where the file system has no locks, they report one torn record too many.
                with contextlib.suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(run_id, path, file=file)
        raise FileExistsError(f"{_TRIES} segments were made at this moment")

    def takes(self, run_id: str, size: int, limit: int) -> bool:
        """Say whether a line of `size` bytes of that run may go here; the first line always may."""
        return self.usable and self.run_id == run_id and (self.size == 0 or self.size + size <= limit)

    def append(self, line: bytes) -> None:
        """Write a line to its end, and hand it to the kernel before returning.

        Raises:
            OSError: nothing of the line is in the segment.
        """
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BaseException:
            self._take_back()
            raise
        self.size += len(line)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file, self.size)
            if self.size == 0:
                self.usable = False
                self.path.unlink()
        except OSError:
            self.usable = False

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self.usable = False
