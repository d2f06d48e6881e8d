"""The receiver of every backend that is built on this library."""

from __future__ import annotations

import time

import attrs

from ebpf_bot_core import BackendError, Injection, SignalBatch
from ebpf_bot_linux.injection import LinuxInjection

__all__ = ["LinuxReceiver"]

_SHORTEST, _LONGEST = 0.001, 0.02
"""Seconds between two looks at the counters, which nothing announces; the waits double from one to the other."""


class LinuxReceiver:
    """Reads what the programs of a `LinuxInjection` have seen; a `SignalReceiver` that holds nothing itself.

    Args:
        backend: the name that it is registered under.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def receive(self, injection: Injection, timeout: float) -> SignalBatch:
        """Return what has fired since the last call, waiting up to `timeout` seconds for something to fire.

        Raises:
            BackendError: the injection is another backend's, or closed.
        """
        if not isinstance(injection, LinuxInjection):
            raise BackendError(
                f"receiver '{self._backend}' cannot read an injection of {type(injection).__module__}",
                hint="choose the receiver of the same name as the injector",
            )
        if injection.closed:
            raise BackendError("the injection is closed: nothing can be received from it")
        deadline = time.monotonic() + timeout
        pause = _SHORTEST
        batch = injection.source.drain()
        while not len(batch) and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST)
            lost = batch.lost
            batch = injection.source.drain()
            batch = attrs.evolve(batch, lost=batch.lost + lost)
        return batch

    def close(self) -> None:
        """Do nothing: the injection owns what is read."""
