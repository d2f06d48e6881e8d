r"""bpftrace-log: a backend without a line of eBPF; it follows what a running bpftrace prints.

    bpftrace -l 'uprobe:/usr/bin/gzip:*' > listing
    bpftrace -e 'uprobe:/usr/bin/gzip:* { printf("%s\n", probe) }' > log

The listing says which probes there are; each line of the log is one hit. The names are those of ebpf-bot.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import (
    BackendError,
    Evidence,
    Injection,
    Mode,
    ProbePattern,
    ProbeTable,
    Reason,
    Scope,
    SignalBatch,
    Verdict,
)

_POLL_SECONDS = 0.01


class LogInjector:
    """A `ProbeInjector`. Its probes are those of the listing."""

    modes = frozenset({Mode.COUNT})

    def __init__(self, listing: str, log: str) -> None:
        self._listing = Path(listing)
        self._log = Path(log)

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        """Say which listed probes the patterns name."""
        listed = [ProbePattern.parse(line) for line in _read(self._listing).decode().split()]
        return Evidence.stating(row for pattern in patterns for row in _rows(pattern, listed))

    def open(self, probes: ProbeTable, *, scope: Scope, mode: Mode, keep: bool) -> LogInjection:  # noqa: ARG002
        """Open an injection on the log. That every hit is counted serves those who do not keep as well."""
        if scope is Scope.COMMAND:
            raise BackendError(
                "bpftrace-log cannot tell one command from others",
                hint="start the command under bpftrace itself: bpftrace -c",
            )
        return LogInjection(probes, self._log)

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class LogInjection:
    """An `Injection`. A probe that is not attached is one whose lines are passed over."""

    def __init__(self, probes: ProbeTable, log: Path) -> None:
        self.probes = probes
        self._log = log
        self._read_to = log.stat().st_size if log.exists() else 0
        self._attached = np.zeros(len(probes), np.bool_)
        self._hits = np.zeros(len(probes), np.int64)
        self._closed = False

    def attach(self, rows: NDArray[np.intp]) -> Evidence:
        """Count these probes from now on."""
        self._catch_up()
        self._attached[rows] = True
        return Evidence.stating((self.probes[row], Verdict.SILENT, Reason.NONE, "") for row in rows.tolist())

    def detach(self, rows: NDArray[np.intp]) -> None:
        """Count these probes no longer; what was counted is still collected."""
        self._catch_up()
        self._attached[rows] = False

    def inspect(self) -> Evidence:
        """Say that nothing is known beside the hits."""
        self._check_open()
        return Evidence.pending(self.probes)

    def cost(self) -> NDArray[np.float64]:
        """Say that no one knows what the probes cost."""
        self._check_open()
        return np.full(len(self.probes), np.nan)

    @contextlib.contextmanager
    def follow(self) -> Iterator[None]:
        """Do nothing: scope `HOST` has no one to follow."""
        self._check_open()
        yield

    def collect(self) -> SignalBatch:
        """Return what has been counted since the last call."""
        self._catch_up()
        rows = np.flatnonzero(self._hits)
        batch = SignalBatch.counted(self.probes, rows, self._hits[rows], time.time_ns())
        self._hits[:] = 0
        return batch

    def close(self) -> None:
        """Stop counting."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _catch_up(self) -> None:
        """Count the lines that came since the last call for the probes that are attached until now."""
        self._check_open()
        if not self._log.exists():
            return
        text = _read(self._log, self._read_to)
        whole, newline, _ = text.rpartition(b"\n")
        self._read_to += len(whole + newline)
        for line in whole.decode("utf-8", "replace").split():
            if line in self.probes and self._attached[row := self.probes.position(line)]:
                self._hits[row] += 1

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("bpftrace-log: the injection is closed", hint="open another")


class LogReceiver:
    """A `SignalReceiver` for the injections of `LogInjector`."""

    def receive(self, injection: Injection, timeout: float) -> SignalBatch:
        """Return what bpftrace has printed, waiting for something to come."""
        if not isinstance(injection, LogInjection):
            raise BackendError(f"bpftrace-log cannot read a {type(injection).__name__}")
        deadline = time.monotonic() + timeout
        while not len(batch := injection.collect()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return batch

    def close(self) -> None:
        """Do nothing: it holds nothing."""


def _rows(
    pattern: ProbePattern, listed: Sequence[ProbePattern]
) -> Iterator[tuple[str, Verdict, Reason, str]]:
    candidates = [probe for probe in listed if (probe.kind, probe.target) == (pattern.kind, pattern.target)]
    matching = [candidates[i] for i in pattern.match_names([probe.name for probe in candidates])]
    for probe in matching:
        yield str(probe), Verdict.PENDING, Reason.NOT_EXAMINED, ""
    if not matching:
        yield str(pattern), Verdict.MISSING, Reason.NOT_FOUND, "bpftrace -l did not list it"


def _read(path: Path, start: int = 0) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read()
    except OSError as error:
        raise BackendError(f"{path}: {error.strerror}", hint="write it with bpftrace -l") from error
