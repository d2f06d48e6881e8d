"""The stages of this backend: those of every backend on this host, with the programs that the plugin ships."""

from __future__ import annotations

from ebpf_bot_linux import Features, LinuxInjector, LinuxReceiver, StreamOptions

from ebpf_bot_libbpf.lskel import LightSkeletons

__all__ = ["LibbpfInjector", "LibbpfReceiver"]


class LibbpfInjector(LinuxInjector):
    """Finds probes on this host and attaches them, a `ProbeInjector`. Kernel 5.17, CAP_BPF with CAP_PERFMON.

    Args:
        options: what a plan says about stream mode.
        features: which of the better ways of attaching to use; those that the kernel has, unless told otherwise.
    """

    def __init__(self, options: StreamOptions | None = None, features: Features | None = None) -> None:
        super().__init__("libbpf", LightSkeletons(), options, features)


class LibbpfReceiver(LinuxReceiver):
    """Reads what the programs of this backend have seen, a `SignalReceiver`."""

    def __init__(self) -> None:
        super().__init__("libbpf")
