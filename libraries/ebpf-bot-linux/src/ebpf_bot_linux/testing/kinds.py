"""What the tests of every probe kind share, whatever the backend: benches, the program, and what this kernel cannot have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from ebpf_bot_linux.features import Features, try_program
from ebpf_bot_linux.injector import LinuxInjector
from ebpf_bot_linux.privileges import Privileges
from ebpf_bot_linux.receiver import LinuxReceiver
from ebpf_bot_linux.testing.bench import Bench
from ebpf_bot_linux.testing.target import build_target

__all__ = ["WITHOUT", "KindTests", "MakeBench", "Shows"]

WITHOUT: Final = Features(uprobe_multi=False, kprobe_multi=False, raw_cookies=False)
"""To do without all that newer kernels have."""

_TARGET: Final = pytest.StashKey[Path]()
MakeBench = Callable[[Features | None], Bench]
Shows = Callable[[str, str], None]


class KindTests:
    """A backend subclasses this, and says how its stages are made and what it is called in tables."""

    def make_injector(self, features: Features | None) -> LinuxInjector:
        """Return an injector that attaches in the ways that some features allow; None: those of this kernel."""
        raise NotImplementedError

    def make_receiver(self) -> LinuxReceiver:
        """Return its receiver."""
        raise NotImplementedError

    def called(self) -> str:
        """Return its name, and what else there is to tell of it."""
        raise NotImplementedError

    @pytest.fixture
    def bench_with(self) -> Iterator[MakeBench]:
        """Make benches that attach in the ways that some features allow."""
        error = try_program()
        if error is not None:
            pytest.skip(f"no eBPF program can be loaded here: {error.message}")
        injectors: list[LinuxInjector] = []

        def make(features: Features | None) -> Bench:
            injectors.append(self.make_injector(features))
            return Bench(injectors[-1], self.make_receiver())

        yield make
        for injector in injectors:
            injector.close()

    @pytest.fixture
    def bench(self, bench_with: MakeBench) -> Bench:
        """Attach in the ways of this kernel."""
        return bench_with(None)

    @pytest.fixture(params=["best", "without"])
    def either(self, request: pytest.FixtureRequest, bench_with: MakeBench) -> Bench:
        """Attach in the best ways that this kernel has, and do without them all."""
        return bench_with(Features.here() if request.param == "best" else WITHOUT)

    @pytest.fixture
    def target(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Do each thing a known number of times; `build_target` says how it is told. It is built once a session."""
        stash = request.config.stash
        if _TARGET not in stash:
            stash[_TARGET] = build_target(tmp_path_factory.mktemp("target"))
        return stash[_TARGET]

    @pytest.fixture
    def lacking(self) -> dict[str, str]:
        """Return {kind: reason} of those that this kernel cannot have, told by its own symbols and not by the finder."""
        listed = Path("/proc/kallsyms").read_text(encoding="ascii")
        has_kprobes = re.search(r" [tT] register_kprobe$", listed, re.MULTILINE)
        lacks = {} if has_kprobes else {"kprobe": "kernel-config", "kretprobe": "kernel-config"}
        if not Path("/sys/kernel/btf/vmlinux").exists():
            return lacks | {"fentry": "no-btf", "fexit": "no-btf"}
        if Privileges.here().lockdown in ("integrity", "confidentiality"):
            return lacks | {"fentry": "lockdown", "fexit": "lockdown"}
        return lacks

    @pytest.fixture
    def shows(self, record_property: Callable[[str, object], None]) -> Shows:
        """Note what a test has shown of some kinds, for the table that `make test-kernels` prints."""

        def note(kinds: str, result: str) -> None:
            for kind in kinds.split(", "):
                record_property("shows", f"{kind} by {self.called()}: {result}")

        return note
