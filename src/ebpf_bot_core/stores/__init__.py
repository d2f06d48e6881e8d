"""The core's own store, registered like anyone's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpf_bot_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_core.registry import Register
    from ebpf_bot_core.stages import SignalStore


@hookimpl
def ebpf_bot_register_stores(register: Register[SignalStore]) -> None:
    """Register `memory`."""
    register("memory", _memory)


def _memory() -> SignalStore:
    from ebpf_bot_core.stores.memory import MemoryStore  # noqa: PLC0415 - it needs numpy

    return MemoryStore()
