"""FileStore: runs, evidence and signals in append-only segments of JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ebpf_bot_core import Evidence, Run, SignalBatch, StoreError
from ebpf_bot_file.failures import explained, missing
from ebpf_bot_file.joining import join_all
from ebpf_bot_file.line import frame
from ebpf_bot_file.options import FileOptions
from ebpf_bot_file.reading import SegmentReader
from ebpf_bot_file.record import Record, encode
from ebpf_bot_file.segments import Segment, find_segments, stem_of

__all__ = ["FileStore"]

Part = TypeVar("Part")


class FileStore:
    """Keeps each record as one line of a segment; segments are never changed, only appended to.

    What `save` has returned from survives the death of this process, by SIGKILL too; after a power failure the last
    saves may be missing or torn. A torn or damaged record is left out and reported as a warning of the logger
    `ebpf_bot.store.file`, once a store object; it is never misread.

    Several processes may save and read at the same time; each run should have one writer at a time. One record is in
    memory at a time.

    Args:
        options: where the segments are, and how large they grow.
    """

    def __init__(self, options: FileOptions | None = None) -> None:
        self._options = options or FileOptions()
        self._path = self._options.path
        self._directory = Path(self._path).absolute()
        self._segment: Segment | None = None
        self._reader = SegmentReader()

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        """Append one record with a single write; StoreError if nothing of it was kept."""
        line = frame(encode(run, signals, evidence))
        with explained(self._path, "write"):
            self._segment_for(run.id, len(line)).append(line)

    def runs(self) -> list[Run]:
        """Return the runs in the order in which they started."""
        with explained(self._path, "read"):
            newest = [self._newest_run(segments) for segments in self._segments().values()]
        return sorted((run for run in newest if run is not None), key=lambda run: run.started)

    def evidence(self, run_id: str) -> Evidence:
        """Return the joined evidence of one run; StoreError if there is no such run."""
        with explained(self._path, "read"):
            joined = join_all(self._parts(run_id, lambda record: record.evidence))
        if joined is None:
            raise _unknown(run_id)
        return joined

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        """Yield the signals of one run as they were saved; StoreError if there is no such run."""
        known = False
        with explained(self._path, "read"):
            for signals in self._parts(run_id, lambda record: record.signals):
                known = True
                if signals is not None:
                    yield signals
        if not known:
            raise _unknown(run_id)

    def close(self) -> None:
        """Close the segment; a later save begins a new one."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _segment_for(self, run_id: str, size: int) -> Segment:
        current = self._segment
        if current is not None and current.takes(run_id, size, self._options.segment_bytes):
            return current
        self.close()
        self._directory.mkdir(exist_ok=True)
        self._segment = Segment.create(self._directory, run_id)
        return self._segment

    def _segments(self) -> dict[str, list[Path]]:
        try:
            found = find_segments(self._directory)
        except FileNotFoundError:
            found = {}
        if not found:
            raise missing(self._path)
        return found

    def _parts(self, run_id: str, part: Callable[[Record], Part]) -> Iterator[Part]:
        """Yield one part of each record of a run, in the order in which they were saved."""
        for segment in self._segments().get(stem_of(run_id), []):
            for found, value in self._reader.parts(segment, lambda record: (record.run_id, part(record))):
                if found == run_id:
                    yield value

    def _newest_run(self, segments: list[Path]) -> Run | None:
        newest_first = (
            self._reader.last(segment, lambda record: record.run) for segment in reversed(segments)
        )
        return next((run for run in newest_first if run is not None), None)


def _unknown(run_id: str) -> StoreError:
    return StoreError(f"no run {run_id!r} in the store", hint="`ebpf-bot report --format json` lists them")
