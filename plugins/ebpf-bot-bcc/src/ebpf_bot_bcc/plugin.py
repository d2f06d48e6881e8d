"""What this plugin registers. The rest of it is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ebpf_bot_core import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_bcc.options import BccOptions
    from ebpf_bot_core import Diagnosis, ProbeInjector, Register, SignalReceiver

__all__ = [
    "ebpf_bot_diagnose",
    "ebpf_bot_register_injectors",
    "ebpf_bot_register_receivers",
]


@hookimpl
def ebpf_bot_register_injectors(register: Register[ProbeInjector]) -> None:
    """Register the injector `bcc`."""
    from ebpf_bot_bcc.options import BccOptions  # noqa: PLC0415 - see above

    register("bcc", _injector, options=BccOptions)


@hookimpl
def ebpf_bot_register_receivers(register: Register[SignalReceiver]) -> None:
    """Register its receiver."""
    register("bcc", _receiver)


@hookimpl
def ebpf_bot_diagnose() -> Iterable[Diagnosis]:
    """Say what of this backend works here."""
    from ebpf_bot_bcc.doctor import diagnose  # noqa: PLC0415 - see above

    return diagnose()


def _injector(options: BccOptions) -> ProbeInjector:
    if options.source:
        from ebpf_bot_bcc.source.injector import SourceInjector  # noqa: PLC0415 - see above

        return SourceInjector(options)
    from ebpf_bot_bcc.stages import BccInjector  # noqa: PLC0415 - see above

    return BccInjector(options)


def _receiver() -> SignalReceiver:
    from ebpf_bot_bcc.stages import BccReceiver  # noqa: PLC0415 - see above

    return BccReceiver()
