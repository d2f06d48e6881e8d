"""Attaching the kernel's own events: tracepoints, raw tracepoints, syscalls and software events."""

from __future__ import annotations

import errno
import os

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_linux.attaching.attacher import Refusal
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.attaching.one_by_one import Held, OneByOne, link_event
from ebpf_bot_linux.kernel import perf_events, syscalls
from ebpf_bot_linux.kernel.abi import ProgramType
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import Key, SiteGroup

__all__ = [
    "RawTracepointCopies",
    "RawTracepoints",
    "SoftwareEvents",
    "SyscallExits",
    "Syscalls",
    "Tracepoints",
]


class RawTracepoints(OneByOne):
    """Raw tracepoints by name, told apart by cookies; kernel 6.10."""

    def _hold(self, member: int) -> Held:
        name, site = str(self._group.keys[member]), self._group.first + member
        return Held((syscalls.open_raw_tracepoint(self._programs["raw_hit"], name, cookie=site),))

    def _explain(self, error: KernelError) -> Refusal:
        if error.errno == errno.ENOENT:
            return Refusal(Reason.NOT_FOUND, error.message)
        return super()._explain(error)


class RawTracepointCopies(RawTracepoints):
    """Raw tracepoints by name, each with a program of its own; kernel 5.17."""

    def _hold(self, member: int) -> Held:
        copy = self._programs.load_copy(
            self._group.first + member, type=ProgramType.RAW_TRACEPOINT, template=self._group.kind.program
        )
        try:
            return Held((syscalls.open_raw_tracepoint(copy, str(self._group.keys[member])),), copy)
        except KernelError:
            self._programs.drop_copy(copy)
            raise


class Tracepoints(OneByOne):
    """Tracepoints as perf events, by their ids in tracefs; kernel 5.17. Closing one takes some 30 ms, one by one."""

    def _hold(self, member: int) -> Held:
        event = perf_events.open_tracepoint(_number(self._group.keys[member]))
        program = self._programs[self._group.kind.program or "tracepoint_hit"]
        return Held((link_event(program, event, self._group.first + member),))


class SoftwareEvents(OneByOne):
    """Software events, sampled by a perf event on each CPU that is online now; kernel 5.17."""

    def _hold(self, member: int) -> Held:
        key, links = self._group.keys[member], []
        program = self._programs[self._group.kind.program or "sample_hit"]
        if not isinstance(key, tuple):
            raise TypeError(f"{key!r} is no event with its period")
        try:
            for cpu in perf_events.online_cpus():
                event = perf_events.open_software(*key, cpu)
                links.append(link_event(program, event, self._group.first + member))
        except KernelError:
            for link in links:
                os.close(link)
            raise
        return Held(tuple(links))

    def _explain(self, error: KernelError) -> Refusal:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
            return Refusal(Reason.KERNEL_CONFIG, f"this kernel does not sample that event: {error.message}")
        return super()._explain(error)


class Syscalls:
    """Entries of syscalls by number, all through one program on `sys_enter`, which looks them up; an `Attacher`."""

    _tracepoint = "sys_enter"
    _program = "syscall_hit"
    _table = "syscall_sites"

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
                program = self._programs[self._program]
                self._links = [syscalls.open_raw_tracepoint(program, self._tracepoint)]
            except KernelError as error:
                return dict.fromkeys(members.tolist(), self._without(error))
        variables = self._programs.variables
        refused = {}
        for member in members.tolist():
            number = _number(self._group.keys[member])
            try:
                variables.set_element(self._table, number, self._group.first + member)
                self._attached.add(member)
            except IndexError:
                detail = f"no syscall of this kernel has number {number}"
                refused[member] = Refusal(Reason.NOT_FOUND, detail)
        return refused

    def detach(self, members: NDArray[np.intp]) -> None:
        """Take members out of the table, and begin to detach the program when none is left."""
        for member in members.tolist():
            self._programs.variables.set_element(self._table, _number(self._group.keys[member]), 0)
        self._attached.difference_update(members.tolist())
        if not self._attached:
            self.close()

    def close(self) -> None:
        """Begin to detach the program."""
        self._closer.close(self._links)
        self._links = []

    def _without(self, error: KernelError) -> Refusal:
        if error.errno == errno.ENOENT:
            detail = f"this kernel has no tracepoint {self._tracepoint} (CONFIG_FTRACE_SYSCALLS)"
            return Refusal(Reason.KERNEL_CONFIG, detail)
        return Refusal.of(error)


class SyscallExits(Syscalls):
    """Returns of syscalls, likewise on `sys_exit`."""

    _tracepoint = "sys_exit"
    _program = "syscall_exit_hit"
    _table = "syscall_exit_sites"


def _number(key: Key) -> int:
    if not isinstance(key, int):
        raise TypeError(f"{key!r} is no number")
    return key
