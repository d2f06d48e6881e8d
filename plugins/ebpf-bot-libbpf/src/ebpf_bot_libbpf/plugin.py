"""What this plugin registers. The rest of it is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ebpf_bot_core import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_linux import StreamOptions

    from ebpf_bot_core import Diagnosis, ProbeInjector, Register, SignalReceiver

__all__ = [
    "ebpf_bot_diagnose",
    "ebpf_bot_register_injectors",
    "ebpf_bot_register_receivers",
]


@hookimpl
def ebpf_bot_register_injectors(register: Register[ProbeInjector]) -> None:
    """Register the injector `libbpf`."""
    from ebpf_bot_linux import StreamOptions  # noqa: PLC0415 - see above

    register("libbpf", _injector, options=StreamOptions)


@hookimpl
def ebpf_bot_register_receivers(register: Register[SignalReceiver]) -> None:
    """Register its receiver."""
    register("libbpf", _receiver)


@hookimpl
def ebpf_bot_diagnose() -> Iterable[Diagnosis]:
    """Say what of this backend works here."""
    from ebpf_bot_linux import diagnose_host, diagnose_programs  # noqa: PLC0415 - see above

    from ebpf_bot_libbpf.lskel import LightSkeletons  # noqa: PLC0415 - see above

    yield from diagnose_host("libbpf")
    yield diagnose_programs(LightSkeletons(), "libbpf")


def _injector(options: StreamOptions) -> ProbeInjector:
    from ebpf_bot_libbpf.stages import LibbpfInjector  # noqa: PLC0415 - see above

    return LibbpfInjector(options)


def _receiver() -> SignalReceiver:
    from ebpf_bot_libbpf.stages import LibbpfReceiver  # noqa: PLC0415 - see above

    return LibbpfReceiver()
