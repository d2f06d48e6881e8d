"""records: one file, to which each record is appended whole or not at all.

The file begins with a line that says what it is. Then each record is its length, its checksum, and a payload: a line
of JSON, the evidence and the signals as numpy writes arrays.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ebpf_bot_core import Evidence, Host, Layouts, Mode, ProbeTable, Run, Scope, SignalBatch, StoreError

_MAGIC = b"acme-ebpf-bot records 1\n"
_HEAD = struct.Struct("<QI")


class RecordStore:
    """A `SignalStore` in one append-only file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._end = 0

    def save(self, run: Run, signals: SignalBatch, evidence: Evidence) -> None:
        """Append a record; when this returns it is on the disk."""
        payload = _pack(run, signals, evidence)
        with _clear_errors(self._path), open(self._path, "ab+") as file:  # noqa: PTH123 - opened as bytes, to append
            fcntl.flock(file, fcntl.LOCK_EX)
            self._check(file, beginnings=True)
            # Whatever follows the last whole record was left by a writer that was killed.
            end = max((end for end, _ in _payloads(file, self._end)), default=self._end)
            record = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
            try:
                file.truncate(end)
                file.write(record if end else _MAGIC + record)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise
            self._end = max(end, len(_MAGIC)) + len(record)

    def runs(self) -> list[Run]:
        """Return the newest record of each run, oldest run first."""
        newest = {run.id: run for run, _, _ in self._records()}
        return sorted(newest.values(), key=lambda run: run.started)

    def evidence(self, run_id: str) -> Evidence:
        """Return what all records of a run know together."""
        joined: Evidence | None = None
        for run, evidence, _ in self._records():
            if run.id == run_id:
                joined = evidence if joined is None else joined.join(evidence)
        if joined is None:
            raise StoreError(
                f"{self._path}: no run {run_id!r}", hint="`ebpf-bot report` shows those there are"
            )
        return joined

    def signals(self, run_id: str) -> Iterator[SignalBatch]:
        """Yield the batches of a run as they were saved."""
        for run, _, batch in self._records():
            if run.id == run_id and len(batch):
                yield batch

    def close(self) -> None:
        """Do nothing: the file is open only while it is used."""

    def _records(self) -> Iterator[tuple[Run, Evidence, SignalBatch]]:
        with _clear_errors(self._path), open(self._path, "rb") as file:  # noqa: PTH123 - opened as bytes
            self._check(file)
            for _, payload in _payloads(file, 0):
                yield _unpack(payload)

    def _check(self, file: Any, *, beginnings: bool = False) -> None:
        file.seek(0)
        start = file.read(len(_MAGIC))
        # A writer that was killed at once, or found the disk full, may have left no more than a beginning.
        if start != _MAGIC and not (beginnings and _MAGIC.startswith(start)):
            raise StoreError(f"{self._path} is no file of records", hint="give the path of a new file")


@contextlib.contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}", hint="check the directory, its permissions and the room on the disk"
        ) from error


def _payloads(file: Any, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield each whole payload behind the position `end`, with the position behind it."""
    file.seek(max(end, len(_MAGIC)))
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, checksum = _HEAD.unpack(head)
        payload = file.read(length)
        if len(payload) != length or zlib.crc32(payload) != checksum:
            return
        yield file.tell(), payload


def _pack(run: Run, signals: SignalBatch, evidence: Evidence) -> bytes:
    facts = {
        "run": attrs.asdict(run),
        "evidence": [evidence.probes.names, list(evidence.details.items()), evidence.signals_lost],
        "signals": [signals.probes.names, signals.lost],
        "layouts": len(signals.layouts.dtypes) if signals.layouts else None,
    }
    buffer = io.BytesIO()
    buffer.write(json.dumps(facts).encode() + b"\n")
    np.save(buffer, evidence.columns, allow_pickle=False)
    np.save(buffer, signals.records, allow_pickle=False)
    if signals.layouts:
        np.save(buffer, signals.layouts.of_probe, allow_pickle=False)
        for dtype in signals.layouts.dtypes:  # numpy's files begin with the dtype; these hold nothing else
            np.save(buffer, np.zeros(0, dtype), allow_pickle=False)
    return buffer.getvalue()


def _unpack(payload: bytes) -> tuple[Run, Evidence, SignalBatch]:
    buffer = io.BytesIO(payload)
    facts = json.loads(buffer.readline())
    columns, records = np.load(buffer, allow_pickle=False), np.load(buffer, allow_pickle=False)
    run = facts["run"] | {
        "host": Host(**facts["run"]["host"]),
        "mode": Mode(facts["run"]["mode"]),
        "scope": Scope(facts["run"]["scope"]),
        "command": tuple(facts["run"]["command"]),
    }
    known, details, known_lost = facts["evidence"]
    seen, lost = facts["signals"]
    layouts = None
    if facts["layouts"] is not None:
        of_probe = np.load(buffer, allow_pickle=False)
        layouts = Layouts(
            tuple(np.load(buffer, allow_pickle=False).dtype for _ in range(facts["layouts"])), of_probe
        )
    return (
        Run(**run),
        Evidence(ProbeTable(tuple(known)), columns, dict(details), known_lost),
        SignalBatch(ProbeTable(tuple(seen)), records, lost, layouts),
    )
