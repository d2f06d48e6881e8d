"""The probes of a Linux host: finding them, attaching thousands at once, reading what they saw, what they cost.

A backend adds what compiles and loads the programs, a `Loader`; the stages are then those of this library. These are the
names that backends use; they are loaded when first used, so that importing a plugin does not pay for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebpf_bot_linux.attaching.loaded_as import LoadedAs, loaded_as
    from ebpf_bot_linux.counting import CountSource
    from ebpf_bot_linux.doctor import diagnose_host, diagnose_programs
    from ebpf_bot_linux.features import Features
    from ebpf_bot_linux.injector import LinuxInjector
    from ebpf_bot_linux.kernel import perf_events, syscalls
    from ebpf_bot_linux.kernel.abi import AttachType, ProgramType
    from ebpf_bot_linux.kernel.assets import Asset
    from ebpf_bot_linux.kernel.kernel_error import KernelError
    from ebpf_bot_linux.kernel.loaded import LoadedObject, Loader, Variable
    from ebpf_bot_linux.kernel.programs import Programs
    from ebpf_bot_linux.kernel.variables import Variables
    from ebpf_bot_linux.options import StreamOptions
    from ebpf_bot_linux.points import Point
    from ebpf_bot_linux.receiver import LinuxReceiver
    from ebpf_bot_linux.sites import Sites
    from ebpf_bot_linux.source import Source
    from ebpf_bot_linux.streaming.clock import BootClock

_HOME = {
    "attaching.loaded_as": ("LoadedAs", "loaded_as"),
    "counting": ("CountSource",),
    "doctor": ("diagnose_host", "diagnose_programs"),
    "features": ("Features",),
    "injector": ("LinuxInjector",),
    "kernel.abi": ("AttachType", "ProgramType"),
    "kernel.kernel_error": ("KernelError",),
    "kernel.loaded": ("LoadedObject", "Loader", "Variable"),
    "kernel.assets": ("Asset",),
    "kernel.perf_events": ("perf_events",),
    "kernel.programs": ("Programs",),
    "kernel.syscalls": ("syscalls",),
    "kernel.variables": ("Variables",),
    "options": ("StreamOptions",),
    "points": ("Point",),
    "receiver": ("LinuxReceiver",),
    "sites": ("Sites",),
    "source": ("Source",),
    "streaming.clock": ("BootClock",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Asset",
    "AttachType",
    "BootClock",
    "CountSource",
    "Features",
    "KernelError",
    "LinuxInjector",
    "LinuxReceiver",
    "LoadedAs",
    "LoadedObject",
    "Loader",
    "Point",
    "ProgramType",
    "Programs",
    "Sites",
    "Source",
    "StreamOptions",
    "Variable",
    "Variables",
    "diagnose_host",
    "diagnose_programs",
    "loaded_as",
    "perf_events",
    "syscalls",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
    value = getattr(module, name, module)  # some names are modules themselves
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
