"""Attaching the kernel's own events: tracepoints, raw tracepoints and syscalls."""

from __future__ import annotations

import abc
import errno
import os

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_libbpf.attaching.attacher import Refusal
from ebpf_bot_libbpf.attaching.closing import Closer
from ebpf_bot_libbpf.kernel import syscalls
from ebpf_bot_libbpf.kernel.descriptors import refuse_if_scarce
from ebpf_bot_libbpf.kernel.kernel_error import KernelError
from ebpf_bot_libbpf.kernel.programs import Programs
from ebpf_bot_libbpf.sites import SiteGroup

__all__ = ["RawTracepoints", "Syscalls", "Tracepoints"]


class _OneByOne(abc.ABC):
    """An `Attacher` of events that need a link each."""

    def __init__(self, group: SiteGroup, programs: Programs, closer: Closer) -> None:
        self._group = group
        self._programs = programs
        self._closer = closer
        self._links: dict[int, int] = {}

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members, each on its own."""
        refused = {}
        for member in members.tolist():
            try:
                refuse_if_scarce("attach")
                self._links[member] = self._link(member)
            except KernelError as error:
                refused[member] = self._explain(error)
        return refused

    def detach(self, members: NDArray[np.intp]) -> None:
        """Begin to detach members."""
        self._closer.close([self._links.pop(member) for member in members.tolist()])

    def close(self) -> None:
        """Begin to detach all."""
        self._closer.close(self._links.values())
        self._links = {}

    @abc.abstractmethod
    def _link(self, member: int) -> int:
        """Attach one and return its link; KernelError if it cannot be."""

    def _explain(self, error: KernelError) -> Refusal:
        return Refusal.of(error)


class RawTracepoints(_OneByOne):
    """Raw tracepoints by name; kernel 6.10 (cookies)."""

    def _link(self, member: int) -> int:
        name, site = str(self._group.keys[member]), self._group.first + member
        return syscalls.open_raw_tracepoint(self._programs["raw_hit"], name, cookie=site)

    def _explain(self, error: KernelError) -> Refusal:
        if error.errno == errno.ENOENT:
            return Refusal(Reason.NOT_FOUND, error.message)
        if error.errno == errno.EINVAL:
            detail = "this kernel's raw tracepoints cannot be told apart; that needs kernel 6.10"
            return Refusal(Reason.KERNEL_CONFIG, detail)
        return super()._explain(error)


class Tracepoints(_OneByOne):
    """Tracepoints as perf events, by their ids in tracefs; kernel 5.15. Closing one takes some 30 ms."""

    def _link(self, member: int) -> int:
        event = syscalls.open_tracepoint_event(int(self._group.keys[member]))
        try:
            return syscalls.attach_perf_event(
                self._programs["tracepoint_hit"], event, cookie=self._group.first + member
            )
        finally:
            os.close(event)  # the link has a reference of its own


class Syscalls:
    """Syscalls by number, all through one program on `sys_enter`, which looks them up; an `Attacher`."""

    def __init__(self, group: SiteGroup, programs: Programs, closer: Closer) -> None:
        self._group = group
        self._programs = programs
        self._closer = closer
        self._attached: set[int] = set()
        self._links: list[int] = []

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach the program if it is not, and enter members in its table."""
        if not self._links:
            try:
                self._links = [syscalls.open_raw_tracepoint(self._programs["syscall_hit"], "sys_enter")]
            except KernelError as error:
                return dict.fromkeys(members.tolist(), _no_sys_enter(error))
        variables = self._programs.variables
        refused = {}
        for member in members.tolist():
            number = int(self._group.keys[member])
            try:
                variables.set_element("syscall_sites", number, self._group.first + member)
                self._attached.add(member)
            except IndexError:
                detail = f"no syscall of this kernel has number {number}"
                refused[member] = Refusal(Reason.NOT_FOUND, detail)
        return refused

    def detach(self, members: NDArray[np.intp]) -> None:
        """Take members out of the table, and begin to detach the program when none is left."""
        for member in members.tolist():
            self._programs.variables.set_element("syscall_sites", int(self._group.keys[member]), 0)
        self._attached.difference_update(members.tolist())
        if not self._attached:
            self.close()

    def close(self) -> None:
        """Begin to detach the program."""
        self._closer.close(self._links)
        self._links = []


def _no_sys_enter(error: KernelError) -> Refusal:
    if error.errno == errno.ENOENT:
        return Refusal(
            Reason.KERNEL_CONFIG, "this kernel has no tracepoint sys_enter (CONFIG_FTRACE_SYSCALLS)"
        )
    return Refusal.of(error)
