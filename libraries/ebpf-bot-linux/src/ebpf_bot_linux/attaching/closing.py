"""Closing links, which the kernel makes slow, without waiting for it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Closer"]

_THREADS = 16


class Closer:
    """Closes descriptors in threads of its own.

    Before close(2) returns from a link, the kernel waits until no CPU can be in its program any more, 30-60 ms; such
    waits of several threads overlap.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "ebpf-bot-closer")
        self._pending: list[Future[None]] = []

    def close(self, descriptors: Iterable[int]) -> None:
        """Begin to close descriptors, which belong to this object from now on."""
        self._pending = [future for future in self._pending if not future.done()]
        self._pending += [self._pool.submit(os.close, descriptor) for descriptor in descriptors]

    def wait(self) -> None:
        """Return when all that was begun is closed."""
        for future in self._pending:
            future.result()
        self._pending = []

    def shut_down(self) -> None:
        """Wait for all, and end the threads. May be called twice."""
        self._pool.shutdown()
