"""What a hit on a function of the kernel costs: timed on that of getppid(2), where one link takes many functions.

It takes some 10 ms, so it is done only where such functions are probed, and never fails.
"""

from __future__ import annotations

import logging
import os
import platform
import statistics
import time
from typing import Final

import attrs
import numpy as np

from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.costing.calibration import HitCosts
from ebpf_bot_linux.costing.places import Place
from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs

__all__ = ["KprobeCosts", "calibrate_kprobes"]

_log = logging.getLogger(__name__)

_GETPPID: Final = {"x86_64": "__x64_sys_getppid", "aarch64": "__arm64_sys_getppid"}
_ROUNDS: Final = 5
_TURNS: Final = 500


@attrs.frozen
class KprobeCosts:
    """CPU seconds that one hit costs.

    Attributes:
        entry: of a kprobe; `on_return` of a kretprobe.
        measured: False where they are only bounds.
    """

    entry: float
    on_return: float
    measured: bool

    @classmethod
    def at_most(cls, hit_costs: HitCosts) -> KprobeCosts:
        """Return what they cost less than: a kprobe takes at most an exception, as a probe on code of user space does.

        The kernel then has no more to do than there where it emulates the instruction, and never changes from user space
        and back. Where it can, it calls from the function instead (Documentation/trace/kprobes.rst, "How Does Jump
        Optimization Work"), which is cheaper. A kretprobe diverts the return as a uretprobe does.
        """
        entry = float(hit_costs.places[Place.EMULATED])
        return cls(entry, entry + hit_costs.on_return, measured=False)


def calibrate_kprobes(programs: Programs, closer: Closer, hit_costs: HitCosts) -> KprobeCosts:
    """Return what hits cost here; what they cost at most where the kernel has no kprobe_multi (5.18, CONFIG_FPROBE).

    Args:
        programs: those that count; their `kprobe_hit` is timed, and the hits are those of no site.
        closer: closes the links meanwhile.
        hit_costs: of places in code.
    """
    function = _GETPPID.get(platform.machine())
    if function is None:
        return KprobeCosts.at_most(hit_costs)
    links: list[int] = []
    taken = [_timed()]
    try:
        for on_return in (False, True):
            links.append(
                syscalls.attach_kprobes(
                    programs["kprobe_hit"], [function], np.zeros(1, np.uint64), on_return=on_return
                )
            )
            taken.append(_timed())
    except KernelError as error:
        _log.debug("what kprobes cost cannot be measured: %s", error)
        return KprobeCosts.at_most(hit_costs)
    finally:
        closer.close(links)
    bare, entered, returned = taken
    return KprobeCosts(max(entered - bare, 0.0), max(returned - entered, 0.0), measured=True)


def _timed() -> float:
    """Return the CPU seconds of one getppid(2), the median of some rounds."""
    taken = []
    for _ in range(_ROUNDS):
        began = time.thread_time_ns()
        for _ in range(_TURNS):
            os.getppid()
        taken.append((time.thread_time_ns() - began) / _TURNS)
    return statistics.median(taken) / 1e9
