"""only-threads: keeps the signals of threads whose names match."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import numpy as np

from ebpf_bot_core import SignalBatch


class OnlyThreads:
    """A `SignalProcessor`. Signals whose thread is not known, as in count mode, pass.

    Args:
        names: wildcards, such as `nginx*`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def process(self, batch: SignalBatch) -> SignalBatch:
        """Return the signals of the wanted threads."""
        comms, which = np.unique(batch.records["comm"], return_inverse=True)
        wanted = np.array([self._is_wanted(comm) for comm in comms.tolist()], np.bool_)
        return batch.where(wanted[which])

    def _is_wanted(self, comm: bytes) -> bool:
        name = comm.decode("utf-8", "replace")
        return not name or any(fnmatch.fnmatchcase(name, pattern) for pattern in self._names)
