"""What the tests on the real kernel share: a bench that probes with this backend, and containers to probe."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from ebpf_bot_libbpf.lskel import LightSkeleton
from ebpf_bot_libbpf.stages import LibbpfInjector, LibbpfReceiver
from ebpf_bot_linux.features import Features, try_program
from ebpf_bot_linux.testing import SECONDS, Bench

from .containers import APP, Container, start_container

ASSET = files("ebpf_bot_libbpf") / "bpf" / "coverage.lskel"
Build = Callable[..., Path]


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
