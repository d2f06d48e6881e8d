"""Perf events that a program can be attached to: tracepoints, functions of binaries and of the kernel, software events."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from functools import cache
from pathlib import Path
from typing import Final

from ebpf_bot_linux.kernel import abi, syscalls
from ebpf_bot_linux.kernel.kernel_error import KernelError

__all__ = [
    "DEVICES",
    "has_device",
    "online_cpus",
    "open_kernel_function",
    "open_output",
    "open_place",
    "open_software",
    "open_tracepoint",
]

DEVICES: Final = Path("/sys/bus/event_source/devices")
"""What kinds of events the kernel has beside the fixed ones; readable by everyone."""

_SOFTWARE, _TRACEPOINT = 1, 2
"""PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT."""


def open_tracepoint(number: int) -> int:
    """Open a tracepoint, by its id in tracefs, and return the descriptor.

    One event on one CPU is enough: a program attached to it runs on all. Needs CAP_PERFMON, or
    kernel.perf_event_paranoid < 0.

    Raises:
        KernelError: EINVAL or ENOENT for an id that this kernel does not have.
    """
    return syscalls.open_perf_event(
        abi.PerfEventAttr(type=_TRACEPOINT, config=number), f"open tracepoint {number}"
    )


def open_place(path: str, offset: int, *, on_return: bool, semaphore: int = 0) -> int:
    """Open a place in a binary as a perf event (a uprobe) and return the descriptor; one event serves all CPUs.

    Kernel 4.17, semaphores 4.20; CAP_SYS_ADMIN (CAP_PERFMON does not do).

    Args:
        offset: in the file; `semaphore` likewise, 0 for none, and below 2**32.
    """
    held = ctypes.create_string_buffer(os.fsencode(path))
    attr = abi.PerfEventAttr(type=_type("uprobe"), config1=ctypes.addressof(held), config2=offset)
    attr.config = on_return << _return_bit("uprobe") | semaphore << _SEMAPHORE_SHIFT
    return syscalls.open_perf_event(attr, "open a uprobe")


def open_kernel_function(function: int | str, *, on_return: bool) -> int:
    """Open a function of the kernel as a perf event (a kprobe) and return the descriptor; one event serves all CPUs.

    Kernel 4.17, CONFIG_KPROBE_EVENTS; CAP_SYS_ADMIN.

    Args:
        function: its name or its address.
    """
    attr = abi.PerfEventAttr(type=_type("kprobe"), config=on_return << _return_bit("kprobe"))
    if isinstance(function, str):
        held = ctypes.create_string_buffer(function.encode())
        attr.config1 = ctypes.addressof(held)
    else:
        attr.config2 = function
    return syscalls.open_perf_event(attr, f"open a kprobe on {function}")


def open_software(event: int, period: int, cpu: int) -> int:
    """Open a software event on one CPU, to be sampled each `period` events, and return the descriptor.

    Kernel 4.9; CAP_PERFMON.

    Args:
        event: its number, one of PERF_COUNT_SW_*.
    """
    attr = abi.PerfEventAttr(type=_SOFTWARE, config=event, sample_period=period, wakeup_events=1)
    return syscalls.open_perf_event(attr, f"sample software event {event}", cpu=cpu)


def open_output(cpu: int) -> int:
    """Open what programs on one CPU write samples to (bpf_perf_event_output), and return the descriptor.

    Kernel 4.4; CAP_PERFMON. Each sample tells process, thread, time by CLOCK_BOOTTIME and CPU beside what was written.
    No sample wakes anyone.
    """
    attr = abi.PerfEventAttr(
        type=_SOFTWARE,
        config=10,  # PERF_COUNT_SW_BPF_OUTPUT
        sample_period=1,
        sample_type=1 << 1 | 1 << 2 | 1 << 7 | 1 << 10,  # PERF_SAMPLE_TID, _TIME, _CPU, _RAW
        flags=1 << 25,  # use_clockid
        clockid=7,  # CLOCK_BOOTTIME
    )
    return syscalls.open_perf_event(attr, "open a perf buffer", cpu=cpu)


def online_cpus() -> list[int]:
    """Return the numbers of the CPUs that run, as sysfs lists them (`0-3,5`)."""
    text = Path("/sys/devices/system/cpu/online").read_text(encoding="ascii")
    ranges = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return [cpu for ends in ranges for cpu in range(ends[0], ends[-1] + 1)]


def has_device(name: str) -> bool:
    """Whether the kernel has a kind of events, `kprobe` or `uprobe`."""
    return (DEVICES / name / "type").exists()


_SEMAPHORE_SHIFT: Final = 32
"""PERF_UPROBE_REF_CTR_OFFSET_SHIFT."""


@cache
def _type(device: str) -> int:
    try:
        return int((DEVICES / device / "type").read_text(encoding="ascii"))
    except FileNotFoundError as error:
        raise KernelError(f"open a {device} as a perf event", errno.ENODEV) from error


@cache
def _return_bit(device: str) -> int:
    """Return which bit of `config` means the return: `format/retprobe` says `config:0`."""
    found = re.search(r"config:(\d+)", (DEVICES / device / "format/retprobe").read_text(encoding="ascii"))
    return int(found[1]) if found else 0
