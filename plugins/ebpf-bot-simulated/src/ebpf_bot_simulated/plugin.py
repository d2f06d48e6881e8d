"""The entry point: says what this distribution supplies. Nothing heavy is imported before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ebpf_bot_core import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_core import Diagnosis, ProbeInjector, Register, SignalReceiver
    from ebpf_bot_simulated.options import SimulatedOptions


@hookimpl
def ebpf_bot_register_injectors(register: Register[ProbeInjector]) -> None:
    """Register the injector `simulated`."""
    from ebpf_bot_simulated.options import SimulatedOptions  # noqa: PLC0415 - see the module's docstring

    register("simulated", _injector, options=SimulatedOptions)


@hookimpl
def ebpf_bot_register_receivers(register: Register[SignalReceiver]) -> None:
    """Register the receiver `simulated`, which reads what that injector opens."""
    register("simulated", _receiver)


@hookimpl
def ebpf_bot_diagnose() -> Iterator[Diagnosis]:
    """Say that it works here, and what it is not."""
    from ebpf_bot_core import Diagnosis  # noqa: PLC0415 - likewise

    yield Diagnosis("simulated", ok=True, found="works everywhere; its signals are made up")


def _injector(options: SimulatedOptions) -> ProbeInjector:
    from ebpf_bot_simulated.injector import SimulatedInjector  # noqa: PLC0415 - likewise

    return SimulatedInjector(options)


def _receiver() -> SignalReceiver:
    from ebpf_bot_simulated.receiver import SimulatedReceiver  # noqa: PLC0415 - likewise

    return SimulatedReceiver()
