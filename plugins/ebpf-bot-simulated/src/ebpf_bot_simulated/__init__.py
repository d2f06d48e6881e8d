"""A seeded, kernel-free backend for ebpf-bot that can fail in every way real kernels do.

The names are loaded when first used, so that importing the plugin does not pay for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebpf_bot_simulated.injection import SimulatedInjection
    from ebpf_bot_simulated.injector import SimulatedInjector
    from ebpf_bot_simulated.options import SimulatedOptions
    from ebpf_bot_simulated.receiver import SimulatedReceiver

__all__ = ["SimulatedInjection", "SimulatedInjector", "SimulatedOptions", "SimulatedReceiver"]

_HOME = {
    "SimulatedInjection": "injection",
    "SimulatedInjector": "injector",
    "SimulatedOptions": "options",
    "SimulatedReceiver": "receiver",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
