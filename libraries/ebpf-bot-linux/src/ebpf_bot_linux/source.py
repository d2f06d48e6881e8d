"""Sources: what a receiver reads of an injection, one room for each mode."""

from __future__ import annotations

from typing import Protocol

from ebpf_bot_core import SignalBatch

__all__ = ["Source"]


class Source(Protocol):
    """Gives what the programs have seen. The rooms are `counting` and `streaming`."""

    def drain(self) -> SignalBatch:
        """Return what has been seen since the last call, without waiting for anything."""
        ...

    def close(self) -> None:
        """Give back what is mapped of the programs' memory. May be called twice."""
        ...
