"""Reads the lines of segments, and reports what is damaged instead of believing it."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from ebpf_bot_file.line import unframe
from ebpf_bot_file.record import MALFORMED, Record

__all__ = ["SegmentReader"]

Part = TypeVar("Part")

_log = logging.getLogger("ebpf_bot.store.file")


class SegmentReader:
    """Yields the whole records of segments; each damaged place is reported once, as a warning.

    A torn tail is what remains when a writer dies in the middle of a record, or the machine does.
    """

    def __init__(self) -> None:
        self._reported: set[tuple[Path, int]] = set()

    def parts(self, segment: Path, part: Callable[[Record], Part]) -> Iterator[Part]:
        """Yield `part(record)` of each whole record, one record in memory at a time.

        Raises:
            OSError: the segment cannot be read.
            StoreError: it was written in a newer format.
        """
        for offset, text in self._texts(segment):
            yield from self._tried(segment, offset, text, part)

    def last(self, segment: Path, part: Callable[[Record], Part]) -> Part | None:
        """Return `part(record)` of the last whole record, or None if there is none; errors as for `parts`."""
        newest: tuple[int, memoryview] | None = None
        for newest in self._texts(segment):  # noqa: B007 - the last one is used below
            pass
        return next(self._tried(segment, *newest, part), None) if newest else None

    def _texts(self, segment: Path) -> Iterator[tuple[int, memoryview]]:
        """Yield the offset and the JSON text of each line whose checksum is right."""
        offset = 0
        with segment.open("rb") as file:
            for line in file:
                text = unframe(line)
                if text is not None:
                    yield offset, text
                elif line.endswith(b"\n"):
                    self._report(segment, offset, f"a damaged record of {len(line)} bytes")
                elif not _is_being_written(file):
                    self._report(segment, offset, f"a torn tail of {len(line)} bytes")
                offset += len(line)

    def _tried(
        self, segment: Path, offset: int, text: memoryview, part: Callable[[Record], Part]
    ) -> Iterator[Part]:
        """Yield the part, or nothing where the text is JSON but no record: someone else wrote it."""
        try:
            yield part(Record.parse(text))
        except MALFORMED as error:
            self._report(segment, offset, f"something that is no record ({error!r})")

    def _report(self, segment: Path, offset: int, what: str) -> None:
        if (segment, offset) not in self._reported:
            self._reported.add((segment, offset))
            _log.warning("%s: left out %s at byte %d", segment, what, offset)


def _is_being_written(file: BinaryIO) -> bool:
    """Say whether the process that made the segment still has it open."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return False
