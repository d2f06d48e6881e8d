"""What the tests of backends on a real kernel share: a bench that attaches probes, runs a command, and reads what they say."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import BackendError, Evidence, Mode, ProbePattern, ProbeTable, Scope, Verdict
from ebpf_bot_linux.counting import CountSource
from ebpf_bot_linux.features import Features
from ebpf_bot_linux.injection import LinuxInjection
from ebpf_bot_linux.injector import LinuxInjector
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.points import Point
from ebpf_bot_linux.receiver import LinuxReceiver
from ebpf_bot_linux.sites import Sites

__all__ = ["SECONDS", "Bench", "Trial"]

SECONDS: Final = 60
"""More than any program of a test takes; a bound, so that nothing waits for ever."""


@attrs.define
class Trial:
    """An injection with everything attached that can be, and what its probes have counted."""

    injection: LinuxInjection
    receiver: LinuxReceiver
    rows: NDArray[np.intp]
    outcome: Evidence
    counted: dict[str, int] = attrs.field(factory=dict)
    lost: int = 0

    def run(
        self, *command: object, follow: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end, as the one that is covered unless told otherwise."""
        argv = [str(part) for part in command]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE} | options
        with self.injection.follow() if follow else nullcontext():
            process: subprocess.Popen[Any] = subprocess.Popen(argv, **pipes)
        out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def hits(self, timeout: float = 0.0) -> dict[str, int]:
        """Return {last part of the probe's name: hits so far} of those that have fired."""
        batch = self.receiver.receive(self.injection, timeout)
        self.lost += batch.lost
        for signal in batch:
            name = signal.probe.rpartition(":")[2]
            self.counted[name] = self.counted.get(name, 0) + signal.count
        return self.counted


@attrs.frozen
class Bench:
    """Attaches patterns through the plugin's own stages."""

    injector: LinuxInjector
    receiver: LinuxReceiver

    @property
    def features(self) -> Features:
        """In which of the better ways it attaches."""
        return self.injector._features or Features.here()

    def points(self, *probes: str) -> list[Point]:
        """Return where probes are that can be placed, by their canonical names."""
        placed = self.injector._finder.points(probes)
        points = [point for point in placed if not isinstance(point, BackendError)]
        assert len(points) == len(probes), placed
        return points

    @contextmanager
    def open(
        self, *patterns: str, scope: Scope = Scope.COMMAND, mode: Mode = Mode.COUNT, keep: bool = True
    ) -> Iterator[tuple[LinuxInjection, Evidence]]:
        """Find probes and open an injection on them; nothing is attached yet."""
        found = self.injector.find([ProbePattern.parse(pattern) for pattern in patterns])
        with self.injector.open(found.probes, scope=scope, mode=mode, keep=keep) as injection:
            yield injection, found

    @contextmanager
    def open_names(self, names: Sequence[str]) -> Iterator[LinuxInjection]:
        """Open an injection on a table of any names, found or not."""
        table = ProbeTable(tuple(names))
        with self.injector.open(table, scope=Scope.COMMAND, mode=Mode.COUNT, keep=True) as injection:
            yield injection

    @contextmanager
    def open_points(
        self, points: Sequence[Point], features: Features | None = None
    ) -> Iterator[LinuxInjection]:
        """Open an injection on places that no finder vouches for; row i is called `uprobe:by-hand:i`."""
        sites = Sites.of(points)
        table = ProbeTable(tuple(f"uprobe:by-hand:{i}" for i in range(len(points))))
        programs = Programs(self.injector.loader, sites.size, scope=Scope.COMMAND, keep=True)
        source = CountSource(table, sites, programs, keep=True)
        with LinuxInjection(
            table,
            sites,
            programs,
            source,
            covers_command=True,
            keep=True,
            features=features or Features.here(),
            elsewhere=lambda names, _: Sites.of([None] * len(names)),
        ) as injection:
            yield injection

    @staticmethod
    def execute(*command: object) -> None:
        """Run a command to its end."""
        argv = [str(part) for part in command]
        subprocess.run(argv, timeout=SECONDS, check=True, stdout=subprocess.DEVNULL)

    @staticmethod
    def usage_of(injection: LinuxInjection, *command: object) -> resource.struct_rusage:
        """Run a command as the one that is covered; return what wait4(2) says that it used."""
        with injection.follow():
            process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage

    @contextmanager
    def trial(
        self, *patterns: str, scope: Scope = Scope.COMMAND, mode: Mode = Mode.COUNT, keep: bool = True
    ) -> Iterator[Trial]:
        """Find probes and attach all that can be."""
        with self.open(*patterns, scope=scope, mode=mode, keep=keep) as (injection, found):
            rows = np.flatnonzero(found.columns["verdict"] == Verdict.PENDING)
            assert len(rows), [(row.probe, row.detail) for row in found]
            yield Trial(injection, self.receiver, rows, injection.attach(rows))
