"""The entry point: registers the store `sqlite`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpf_bot_core import hookimpl

if TYPE_CHECKING:
    from ebpf_bot_core import Register, SignalStore
    from ebpf_bot_sqlite.options import SqliteOptions


@hookimpl
def ebpf_bot_register_stores(register: Register[SignalStore]) -> None:
    """Register the store; nothing is opened before it is chosen."""
    from ebpf_bot_sqlite.options import SqliteOptions  # noqa: PLC0415 - modules of plugins stay cheap to import

    register("sqlite", _store, options=SqliteOptions)


def _store(options: SqliteOptions) -> SignalStore:
    from ebpf_bot_sqlite.store import SqliteStore  # noqa: PLC0415 - likewise

    return SqliteStore(options)
