"""Calibration: what a hit costs on this machine, measured once on a few instructions of our own.

A page of machine code in an anonymous file holds a loop around one instruction of each kind of place. Each loop is timed
with a probe on that instruction, by the clock of this thread's CPU time; a loop of getppid(2) is timed with and without a
program on `sys_enter`. It takes some 10 ms, and never fails: where anything is refused, what was measured on another
machine stands in.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Final, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.costing.places import Place
from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs

__all__ = ["HitCosts", "calibrate"]

_log = logging.getLogger(__name__)

_ROUNDS: Final = 5
_TURNS: Final = {Place.EMULATED: 100, Place.LONG_NOP: 100, Place.CALLABLE_NOP: 100, Place.STEPPED: 10}
_GETPPIDS: Final = 500
_INSTRUCTIONS: Final = {
    Place.EMULATED: b"\x90",
    Place.LONG_NOP: b"\x0f\x1f\x00",
    Place.CALLABLE_NOP: b"\x0f\x1f\x44\x00\x00",
    Place.STEPPED: b"\x89\xf0",  # mov %esi,%eax
}
_GETPPID: Final = b"\xb8\x6e\x00\x00\x00\x0f\x05"  # mov $110,%eax; syscall
_CALLED: Final = b"\xe8\x05\x00\x00\x00"  # call behind the loop, where nop; ret stands
_PERF_EVENT_RATIO: Final = 2.0
"""What a tracepoint by a perf event costs, in raw ones."""


@attrs.frozen(eq=False)
class HitCosts:
    """CPU seconds that one hit costs.

    Attributes:
        places: shape (4,), by `Place`, of a probe on an instruction.
        on_return: what a probe on the return costs beside that of its entry.
        raw_event: of a raw tracepoint or a syscall; tracepoints by perf events take twice as long.
        measured: False where they are of another machine.
    """

    places: NDArray[np.float64]
    on_return: float
    raw_event: float
    measured: bool

    @property
    def tracepoint(self) -> float:
        """Of a tracepoint that is attached as a perf event."""
        return self.raw_event * _PERF_EVENT_RATIO


_ELSEWHERE: Final = HitCosts(np.array([0.7e-6, 0.8e-6, 0.55e-6, 12e-6]), 0.5e-6, 0.1e-6, measured=False)
"""Of a virtual machine with kernel 6.18; see docs/performance.md."""


def calibrate(programs: Programs, closer: Closer) -> HitCosts:
    """Return what hits cost here; needs what attaching needs, and x86-64 to measure.

    Args:
        programs: their `uprobe_hit` and `syscall_hit` are timed; they count nothing that anyone reads.
        closer: closes the links meanwhile.
    """
    if platform.machine() != "x86_64":
        return _ELSEWHERE
    try:
        with _Bench() as bench:
            return bench.measure(programs, closer)
    except (KernelError, OSError) as error:
        _log.debug("what hits cost cannot be measured: %s", error)
        return _ELSEWHERE


class _Bench:
    """The page of code: for each loop its address and the file offset of the instruction in it."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("ebpf-bot-calibration", os.MFD_CLOEXEC)
        code = b""
        self._at: dict[str, int] = {}
        bodies = {place.name: each for place, each in _INSTRUCTIONS.items()}
        for name, body in {**bodies, "CALL": _CALLED, "GETPPID": _GETPPID}.items():
            code += b"\x90" * (-len(code) % 64)  # each on a cache line of its own
            self._at[name] = len(code)
            back = (-len(body) - 4) & 0xFF
            code += body + b"\xff\xcf\x75" + bytes([back]) + b"\xc3"  # dec %edi; jnz; ret
            code += b"\x90\xc3" if name == "CALL" else b""
        os.write(self._fd, code)
        # Private and not writable: the kernel places probes only in such mappings.
        self._memory = mmap.mmap(
            self._fd, len(code), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC
        )
        self._base = _address(self._memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._memory.close()
        os.close(self._fd)

    def measure(self, programs: Programs, closer: Closer) -> HitCosts:
        """Time every loop with a probe on it."""
        bare = self._timed("GETPPID", _GETPPIDS)
        links = [self._probe(programs, [self._at[place.name] for place in Place], on_return=False)]
        try:
            places = [self._timed(place.name, _TURNS[place]) for place in Place]
            called = self._at["CALL"] + len(_CALLED) + 5
            links.append(self._probe(programs, [called], on_return=True))
            on_return = self._timed("CALL", _TURNS[Place.EMULATED]) - places[Place.EMULATED]
            links.append(syscalls.open_raw_tracepoint(programs["syscall_hit"], "sys_enter"))
            raw_event = self._timed("GETPPID", _GETPPIDS) - bare
        finally:
            closer.close(links)
        return HitCosts(np.array(places), max(on_return, 0.0), max(raw_event, 0.0), measured=True)

    def _probe(self, programs: Programs, offsets: list[int], *, on_return: bool) -> int:
        # Counter 0 belongs to no site.
        cookies = np.zeros(len(offsets), np.uint64)
        path = f"/proc/self/fd/{self._fd}"
        return syscalls.attach_uprobes(
            programs["uprobe_hit"], path, np.array(offsets, np.uint64), cookies, on_return=on_return
        )

    def _timed(self, name: str, turns: int) -> float:
        """Return the CPU seconds of one turn of a loop, the median of some rounds."""
        loop: Callable[[int], object] = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._base + self._at[name])
        loop(turns // 10)
        taken = []
        for _ in range(_ROUNDS):
            began = time.thread_time_ns()
            loop(turns)
            taken.append((time.thread_time_ns() - began) / turns)
        return statistics.median(taken) / 1e9


def _address(memory: mmap.mmap) -> int:
    """Return where a mapping that cannot be written is in memory."""
    return int(np.frombuffer(memory, np.uint8).__array_interface__["data"][0])
