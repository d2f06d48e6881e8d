"""The entry point: registers the store `file`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpf_bot_core import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_core import Register, SignalStore
    from ebpf_bot_file.options import FileOptions


@hookimpl
def ebpf_bot_register_stores(register: Register[SignalStore]) -> None:
    """Register the store; nothing is opened before it is chosen."""
    from ebpf_bot_file.options import FileOptions  # noqa: PLC0415 - modules of plugins stay cheap to import

    register("file", _store, options=FileOptions)


def _store(options: FileOptions) -> SignalStore:
    from ebpf_bot_file.store import FileStore  # noqa: PLC0415 - likewise

    return FileStore(options)
