"""The receiver: lets simulated time pass, and gives what was hit."""

from __future__ import annotations

import time

from ebpf_bot_core import BackendError, Injection, SignalBatch
from ebpf_bot_simulated.injection import SimulatedInjection

__all__ = ["SimulatedReceiver"]


class SimulatedReceiver:
    """A `SignalReceiver` for the injections of `SimulatedInjector`."""

    def receive(self, injection: Injection, timeout: float) -> SignalBatch:
        """Let one tick pass and return what was hit in it.

        It takes all of `timeout` (seconds), or none of it with the option `wait = false`.
        """
        if not isinstance(injection, SimulatedInjection):
            raise BackendError(
                f"simulated: this receiver cannot read a {type(injection).__name__}",
                hint="choose the receiver that belongs to the injector",
            )
        if injection.wait and timeout > 0:
            time.sleep(timeout)
        return injection.collect()

    def close(self) -> None:
        """Do nothing: it holds nothing."""
