"""The injector of every backend that is built on this library: they differ in what compiles the programs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ebpf_bot_core import BackendError, Evidence, Mode, ProbePattern, ProbeTable, Scope
from ebpf_bot_linux.counting import CountSource
from ebpf_bot_linux.features import Features
from ebpf_bot_linux.finding.finder import Finder
from ebpf_bot_linux.finding.spelling import at_path
from ebpf_bot_linux.hints import cannot_work
from ebpf_bot_linux.injection import LinuxInjection
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.loaded import Loader
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.options import StreamOptions
from ebpf_bot_linux.points import CodePoint, FunctionPoint, Point
from ebpf_bot_linux.sites import Sites
from ebpf_bot_linux.source import Source
from ebpf_bot_linux.streaming.opening import open_stream, payloads_for

__all__ = ["LinuxInjector"]


class LinuxInjector:
    """Finds probes on this host and attaches them, a `ProbeInjector`.

    A backend whose programs are not the same for all probes overrides `served_by` and `load`.

    Needs kernel 5.17 and CAP_BPF with CAP_PERFMON; finding needs neither.

    Args:
        backend: the name that it is registered under, for messages.
        loader: brings the programs.
        options: what a plan says about stream mode.
        features: which of the better ways of attaching to use; those that the kernel has, unless told otherwise.

    Attributes:
        loader: likewise.
    """

    modes = frozenset(Mode)

    def __init__(
        self,
        backend: str,
        loader: Loader,
        options: StreamOptions | None = None,
        features: Features | None = None,
    ) -> None:
        self._backend = backend
        self.loader = loader
        self._options = options or StreamOptions()
        self._finder = Finder()
        self._features = features

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        """Say which probes the patterns name on this host."""
        return self._finder.find(patterns)

    def open(self, probes: ProbeTable, *, scope: Scope, mode: Mode, keep: bool) -> LinuxInjection:
        """Load the programs for a table of probes; none is attached yet.

        Raises:
            BackendError: the kernel lacks something, or does not let us; the hint says what to do.
            PlanError: the option `strings` names something that this table does not have.
        """
        points = [
            None if isinstance(point, BackendError) else point for point in self._finder.points(probes.names)
        ]
        sites = Sites.of(points, mode, self.served_by(probes.names, mode))
        covers_command = scope is Scope.COMMAND
        try:
            features = self._features = self._features or Features.here()
            programs, source = self.load(probes, points, sites, features, scope=scope, mode=mode, keep=keep)
            del points  # of a million probes they take 170 MiB
            return LinuxInjection(
                probes,
                sites,
                programs,
                source,
                covers_command=covers_command,
                keep=keep,
                features=features,
                elsewhere=partial(self._elsewhere, mode),
            )
        except KernelError as error:
            raise cannot_work(error, self._backend) from error

    def _elsewhere(self, mode: Mode, names: Sequence[str], path: str) -> Sites:
        """Return the sites that some probes have in another file than their names say."""
        points = self._finder.points([at_path(name, path) for name in names])
        # What a USDT probe tells in stream mode lies elsewhere in another file than was laid down for the first.
        wanted = FunctionPoint if mode is Mode.STREAM else CodePoint
        there = [point if isinstance(point, wanted) else None for point in points]
        return Sites.of(there, mode, self.served_by(names, mode))

    def served_by(self, names: Sequence[str], mode: Mode) -> Sequence[str]:  # noqa: ARG002 - for those that override it
        """Return which program serves each of some probes; nothing where the programs of the mode serve all."""
        return ()

    def load(
        self,
        probes: ProbeTable,
        points: Sequence[Point | None],
        sites: Sites,
        features: Features,  # noqa: ARG002 - likewise
        *,
        scope: Scope,
        mode: Mode,
        keep: bool,
    ) -> tuple[Programs, Source]:
        """Load the programs of a mode, and return them with what reads them; KernelError if the kernel refuses."""
        if mode is Mode.STREAM:
            payloads = payloads_for(self._finder, probes, points, sites, self._options)
            ring_bytes = self._options.ring_bytes
            return open_stream(
                self.loader, probes, sites, payloads, scope=scope, keep=keep, ring_bytes=ring_bytes
            )
        programs = Programs(self.loader, sites.size, scope=scope, keep=keep)
        return programs, CountSource(probes, sites, programs, keep=keep)

    def close(self) -> None:
        """Give back what the finder holds. May be called twice; injections are closed by their owners."""
        self._finder.close()
