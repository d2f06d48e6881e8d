"""An append-only store for ebpf-bot that jq can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpf_bot_file.options import FileOptions

if TYPE_CHECKING:
    from ebpf_bot_file.store import FileStore

__all__ = ["FileOptions", "FileStore"]


def __getattr__(name: str) -> Any:
    # The plugin is imported by every command; only those that use the store pay for numpy and orjson.
    if name != "FileStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ebpf_bot_file.store import FileStore  # noqa: PLC0415

    return FileStore
