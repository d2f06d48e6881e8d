"""The stages of this backend: those of every backend on this host, with programs that BCC compiles."""

from __future__ import annotations

from ebpf_bot_linux import Features, LinuxInjector, LinuxReceiver

from ebpf_bot_bcc.compiling import Compiler
from ebpf_bot_bcc.loading import BccLoader
from ebpf_bot_bcc.options import BccOptions
from ebpf_bot_core import Mode

__all__ = ["BccInjector", "BccReceiver"]


class BccInjector(LinuxInjector):
    """Finds probes on this host and attaches them, a `ProbeInjector`.

    Needs the distribution's BCC, kernel 5.17, and CAP_BPF with CAP_PERFMON; finding needs none of them.

    Args:
        options: what a plan says.
        features: which of the better ways of attaching to use; those that the kernel has, unless told otherwise.
        compiler: what has BCC compile; one may serve many injectors, and compiles for them once.
    """

    modes = frozenset({Mode.COUNT})

    def __init__(
        self,
        options: BccOptions | None = None,
        features: Features | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        options = options or BccOptions()
        super().__init__("bcc", BccLoader(compiler or Compiler(options.module)), features=features)


class BccReceiver(LinuxReceiver):
    """Reads what the programs of this backend have seen, a `SignalReceiver`."""

    def __init__(self) -> None:
        super().__init__("bcc")
