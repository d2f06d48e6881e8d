"""Scope COMMAND: which threads are covered, followed from parent to child by the kernel itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.programs import Programs

__all__ = ["CommandScope"]

_WATCHED: Final = {"task_newtask": "scope_newtask", "sched_process_exec": "scope_exec"}
"""Raw tracepoint -> the program that keeps the covered threads there."""


class CommandScope:
    """Keeps the set of covered threads while it is open.

    Raises:
        KernelError: the tracepoints cannot be attached to.
    """

    def __init__(self, programs: Programs, closer: Closer) -> None:
        self._programs = programs
        self._closer = closer
        self._links: list[int] = []
        try:
            for tracepoint, program in _WATCHED.items():
                self._links.append(syscalls.open_raw_tracepoint(programs[program], tracepoint))
        except KernelError:
            self.close()
            raise

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Cover the child that the calling thread starts meanwhile, from its exec on, and all that descend from it.

        The kernel remembers the child until it executes a program or ends, so it does not matter whether that is
        before or after the context is left.
        """
        # The kernel compares ids of the initial pid namespace, which os.gettid() does not give inside another.
        own_tid = syscalls.run_program(self._programs["scope_own_tid"])
        self._programs.variables.set("foster", own_tid)
        try:
            yield
        finally:
            self._programs.variables.set("foster", 0)

    def covers(self, pid: int) -> bool:
        """Whether a process is covered, by its id; false for all where ids are not those of the initial namespace."""
        initial = syscalls.run_program(self._programs["scope_own_tid"]) == threading.get_native_id()
        return initial and self._programs.covers(pid)

    @property
    def executions(self) -> int:
        """How often a covered process has executed a program so far."""
        return self._programs.variables.get("execs")

    def close(self) -> None:
        """Begin to stop following. May be called twice."""
        self._closer.close(self._links)
        self._links = []
