"""What the tests on the real kernel share: small programs to probe, and a bench that probes them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import attrs
import numpy as np
import pytest
from ebpf_bot_libbpf.counting import CountSource
from ebpf_bot_libbpf.features import Features, try_program
from ebpf_bot_libbpf.injection import LibbpfInjection
from ebpf_bot_libbpf.injector import LibbpfInjector
from ebpf_bot_libbpf.kernel.lskel import LightSkeleton
from ebpf_bot_libbpf.kernel.programs import Programs
from ebpf_bot_libbpf.points import Point
from ebpf_bot_libbpf.receiver import LibbpfReceiver
from ebpf_bot_libbpf.sites import Sites

from ebpf_bot_core import Evidence, Mode, ProbePattern, ProbeTable, Scope, Verdict

from .containers import APP, Container, start_container

ASSET = files("ebpf_bot_libbpf") / "kernel" / "bpf" / "coverage.lskel"
Build = Callable[..., Path]
SECONDS = 60
"""More than any program here takes; a bound, so that nothing waits for ever."""


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compile a program from C or assembly and return its path."""

    def compile_it(source: str, *flags: str, name: str = "target", language: str = "c") -> Path:
        binary = tmp_path / name
        source_file = tmp_path / f"{name}.{language}"
        source_file.write_text(textwrap.dedent(source))
        command = ["gcc", "-O1", "-w", str(source_file), "-o", str(binary), "-pthread", *flags]
        subprocess.run(command, check=True, timeout=SECONDS)
        return binary

    return compile_it


@pytest.fixture
def build_made(build: Build) -> Build:
    """Compile `made_functions.c` with further flags; GCC makes copies, parts and versions of its functions."""
    source = Path(__file__).with_name("made_functions.c").read_text()
    return lambda *flags: build(source, "-O2", "-fipa-cp-clone", "-g", *flags, name="made")


@pytest.fixture
def made(build_made: Build) -> Path:
    """The program of `made_functions.c`, in which all is there that the tests count on."""
    path = build_made()
    listed = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    symbols = {line.split()[-1] for line in listed.splitlines()}
    assert symbols >= {
        "only_copy.constprop.0",
        "whole_and_copy",
        "whole_and_copy.constprop.0",
        "whole_and_part",
        "whole_and_part.part.0",
        "only_part.part.0",
        "with_cold.cold",
        "also_inlined",
        "versions.avx2",
    }
    assert not symbols & {"only_copy", "only_part", "everywhere", "twice_over"}
    return path


@pytest.fixture
def container(tmp_path: Path, build: Build) -> Iterator[Callable[..., Container]]:
    """Run a program at the path `app` of a container's own root: a copy of the host's there, unless told which."""
    running: list[Container] = []

    def start(inside: Path | None = None) -> Container:
        app = tmp_path / "app"
        if not app.exists():
            build(APP, "-static", name="app")
        root = tmp_path / f"inside{len(running)}"
        root.mkdir()
        running.append(start_container(app, inside or app, root))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@attrs.define
class Trial:
    """An injection with everything attached that can be, and what its probes have counted."""

    injection: LibbpfInjection
    receiver: LibbpfReceiver
    rows: np.ndarray
    outcome: Evidence
    counted: dict[str, int] = attrs.field(factory=dict)
    lost: int = 0

    def run(
        self, *command: object, follow: bool = True, **options: object
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end, as the one that is covered unless told otherwise."""
        argv = [str(part) for part in command]
        options = {"stdout": subprocess.PIPE} | options
        if not follow:
            return subprocess.run(argv, timeout=SECONDS, check=False, **options)
        with self.injection.follow():
            process = subprocess.Popen(argv, **options)
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

    injector: LibbpfInjector
    receiver: LibbpfReceiver

    @contextmanager
    def open(
        self, *patterns: str, scope: Scope = Scope.COMMAND, keep: bool = True
    ) -> Iterator[tuple[LibbpfInjection, Evidence]]:
        """Find probes and open an injection on them; nothing is attached yet."""
        found = self.injector.find([ProbePattern.parse(pattern) for pattern in patterns])
        with self.injector.open(found.probes, scope=scope, mode=Mode.COUNT, keep=keep) as injection:
            yield injection, found

    @contextmanager
    def open_names(self, names: Sequence[str]) -> Iterator[LibbpfInjection]:
        """Open an injection on a table of any names, found or not."""
        table = ProbeTable(tuple(names))
        with self.injector.open(table, scope=Scope.COMMAND, mode=Mode.COUNT, keep=True) as injection:
            yield injection

    @contextmanager
    def open_points(
        self, points: Sequence[Point], features: Features | None = None
    ) -> Iterator[LibbpfInjection]:
        """Open an injection on places that no finder vouches for; row i is called `uprobe:by-hand:i`."""
        sites = Sites.of(points)
        table = ProbeTable(tuple(f"uprobe:by-hand:{i}" for i in range(len(points))))
        programs = Programs(sites.size, scope=Scope.COMMAND, keep=True)
        source = CountSource(table, sites, programs, keep=True)
        with LibbpfInjection(
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
    def usage_of(injection: LibbpfInjection, *command: object) -> resource.struct_rusage:
        """Run a command as the one that is covered; return what wait4(2) says that it used."""
        with injection.follow():
            process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage

    @contextmanager
    def trial(self, *patterns: str, scope: Scope = Scope.COMMAND, keep: bool = True) -> Iterator[Trial]:
        """Find probes and attach all that can be."""
        with self.open(*patterns, scope=scope, keep=keep) as (injection, found):
            rows = np.flatnonzero(found.columns["verdict"] == Verdict.PENDING)
            assert len(rows), [(row.probe, row.detail) for row in found]
            yield Trial(injection, self.receiver, rows, injection.attach(rows))


@pytest.fixture
def bench_with() -> Iterator[Callable[[Features | None], Bench]]:
    """Return a bench that attaches in the ways that some features allow; None: those of this kernel."""
    error = try_program()
    if error is not None:
        pytest.skip(f"no eBPF program can be loaded here: {error.message}")
    injectors: list[LibbpfInjector] = []

    def make(features: Features | None) -> Bench:
        injectors.append(LibbpfInjector(features=features))
        return Bench(injectors[-1], LibbpfReceiver())

    yield make
    for injector in injectors:
        injector.close()


@pytest.fixture
def bench(bench_with: Callable[[Features | None], Bench]) -> Bench:
    return bench_with(None)


@pytest.fixture
def programs_in_kernel() -> Callable[[], dict[int, set[int]]]:
    """Return {program id: ids of the links that hold it} of this plugin's programs, whoever has loaded them."""

    def look() -> dict[int, set[int]]:
        def listed(what: str) -> list[dict[str, object]]:
            shown = subprocess.run(
                ["bpftool", "-j", what, "list"], check=True, stdout=subprocess.PIPE, timeout=SECONDS
            )
            return json.loads(shown.stdout)

        names = {*LightSkeleton.read(ASSET).programs, "site_hit"}
        ours = {program["id"]: set() for program in listed("prog") if program.get("name") in names}
        for link in listed("link"):
            if link.get("prog_id") in ours:
                ours[link["prog_id"]].add(link["id"])
        return ours

    return look
