"""The injector of this backend."""

from __future__ import annotations

from collections.abc import Sequence

from ebpf_bot_core import BackendError, Evidence, Mode, ProbePattern, ProbeTable, Scope
from ebpf_bot_libbpf.features import Features
from ebpf_bot_libbpf.finding.finder import Finder
from ebpf_bot_libbpf.hints import cannot_work
from ebpf_bot_libbpf.injection import LibbpfInjection
from ebpf_bot_libbpf.kernel.kernel_error import KernelError
from ebpf_bot_libbpf.kernel.programs import Programs
from ebpf_bot_libbpf.sites import Sites

__all__ = ["LibbpfInjector"]


class LibbpfInjector:
    """Finds probes on this host and attaches them, a `ProbeInjector`.

    Needs kernel 5.17 and CAP_BPF with CAP_PERFMON; finding needs neither.

    Args:
        features: which of the better ways of attaching to use; those that the kernel has, unless told otherwise.
    """

    modes = frozenset({Mode.COUNT})

    def __init__(self, features: Features | None = None) -> None:
        self._finder = Finder()
        self._features = features

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        """Say which probes the patterns name on this host."""
        return self._finder.find(patterns)

    def open(self, probes: ProbeTable, *, scope: Scope, mode: Mode, keep: bool) -> LibbpfInjection:
        """Load the programs for a table of probes; none is attached yet.

        Raises:
            BackendError: the kernel lacks something, or does not let us; the hint says what to do.
        """
        if mode not in self.modes:
            raise BackendError(f"backend 'libbpf' has no {mode} mode", hint="it has: count")
        points = self._finder.points(probes.names)
        sites = Sites.of([None if isinstance(point, BackendError) else point for point in points], mode)
        try:
            programs = Programs(sites.size, scope=scope, keep=keep)
            self._features = self._features or Features.here()
            return LibbpfInjection(
                probes,
                sites,
                programs,
                covers_command=scope is Scope.COMMAND,
                keep=keep,
                features=self._features,
            )
        except KernelError as error:
            raise cannot_work(error) from error

    def close(self) -> None:
        """Give back what the finder holds. May be called twice; injections are closed by their owners."""
        self._finder.close()
