"""Who is compared: the line to add for a new peer is here."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison.peers.bcc import Bcc
from benchmarks.comparison.peers.bpftrace import Bpftrace
from benchmarks.comparison.peers.perf import Perf
from benchmarks.comparison.peers.strace import Strace
from benchmarks.comparison.peers.tool import Tool

__all__ = ["peers"]


def peers(uprobe_group: str) -> Sequence[Tool]:
    """Return all peers, installed or not."""
    return (Bpftrace(), Bcc(), Perf(uprobe_group), Strace())
