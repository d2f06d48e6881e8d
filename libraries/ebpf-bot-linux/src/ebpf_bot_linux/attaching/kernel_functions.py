"""Attaching functions of the kernel: kprobes, by one link, a link each or a perf event each, and fentry."""

from __future__ import annotations

import errno
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_linux.attaching.attacher import Refusal
from ebpf_bot_linux.attaching.closing import Closer
from ebpf_bot_linux.attaching.handover import Handover
from ebpf_bot_linux.attaching.many_at_once import ManyAtOnce
from ebpf_bot_linux.attaching.one_by_one import Held, OneByOne, link_event
from ebpf_bot_linux.kernel import perf_events, syscalls
from ebpf_bot_linux.kernel.abi import AttachType, ProgramType
from ebpf_bot_linux.kernel.kernel_error import ENOTSUPP, KernelError
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.sites import Key, SiteGroup

__all__ = ["Fentries", "KprobeEvents", "KprobeLinks", "KretprobeLinks"]

_NOT_TRACEABLE: Final = "the kernel does not let this function be probed (notrace, or it traces itself there)"
_OF_A_FUNCTION: Final = (errno.EINVAL, errno.ENOENT, errno.ESRCH, errno.EILSEQ, errno.EADDRNOTAVAIL)


def _explain(error: KernelError) -> Refusal:
    if error.errno in _OF_A_FUNCTION:
        return Refusal(Reason.ATTACH_FAILED, f"{_NOT_TRACEABLE}: {error.message}")
    return Refusal.of(error)


class KprobeLinks(ManyAtOnce):
    """Functions of the kernel, or the returns from there, by one kprobe_multi link; an `Attacher`. Kernel 5.18."""

    def __init__(self, group: SiteGroup, programs: Programs, closer: Closer, handover: Handover) -> None:
        super().__init__(group, np.arange(group.first, group.end), programs, closer, handover)

    def _attach_hits(self, members: NDArray[np.intp], number: int) -> list[int]:
        return self._attach(self._group.kind.program or "kprobe_hit", members, number)

    def _attach_trial(self, members: NDArray[np.intp]) -> list[int]:
        return self._attach("kprobe_trial", members, 0)

    def _attach(self, program: str, members: NDArray[np.intp], number: int) -> list[int]:
        """Link functions by their names, and by their addresses those that share a name; one link takes one or other."""
        links: list[int] = []
        functions = {member: _function(self._group.keys[member]) for member in members.tolist()}
        try:
            for by in (str, int):
                part = [member for member, function in functions.items() if isinstance(function, by)]
                if part:
                    links.append(
                        syscalls.attach_kprobes(
                            self._programs[program],
                            [functions[member] for member in part],
                            self._cookies(np.array(part, np.intp), number),
                            on_return=self._group.kind.on_return,
                        )
                    )
        except KernelError:
            self._closer.close(links)
            raise
        return links

    def _is_of_a_member(self, error: KernelError) -> bool:
        return error.errno in _OF_A_FUNCTION

    def _explain(self, member: int, error: KernelError) -> Refusal:  # noqa: ARG002 - the name says enough
        return _explain(error)


class KretprobeLinks(OneByOne):
    """Returns from functions of the kernel where every hit counts, each by a kprobe_multi link of its own. Kernel 5.18.

    No link can follow on another here and count exactly: whether a return is seen is settled when its function is
    entered, which may be long before, and kernels differ in which of two links sees it first.
    """

    def _hold(self, member: int) -> Held:
        function, cookie = (
            _function(self._group.keys[member]),
            np.array([self._group.first + member], np.uint64),
        )
        program = self._programs[self._group.kind.program or "kprobe_hit"]
        return Held((syscalls.attach_kprobes(program, [function], cookie, on_return=True),))

    def _explain(self, error: KernelError) -> Refusal:
        return _explain(error)


class KprobeEvents(OneByOne):
    """Functions of the kernel, or the returns from there, each by a perf event; kernel 5.17, CAP_SYS_ADMIN.

    The kernel closes them one after the other, some 30 ms each.
    """

    def _hold(self, member: int) -> Held:
        function = _function(self._group.keys[member])
        event = perf_events.open_kernel_function(function, on_return=self._group.kind.on_return)
        program = self._programs[self._group.kind.program or "event_hit"]
        return Held((link_event(program, event, self._group.first + member),))

    def _explain(self, error: KernelError) -> Refusal:
        if error.errno in (errno.EACCES, errno.EPERM):
            return Refusal(
                Reason.PERMISSION,
                "this kernel has no kprobe_multi, and takes kprobes from CAP_SYS_ADMIN alone",
            )
        return _explain(error)


class Fentries(OneByOne):
    """Functions of the kernel, or the returns from there, each by a tracing program of its own; kernel 5.17.

    The kernel patches the call of it into the function, so that a hit costs less than at a kprobe. Needs BTF and
    CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS.
    """

    def _hold(self, member: int) -> Held:
        btf_id = self._group.keys[member]
        if not isinstance(btf_id, int):
            raise TypeError(f"{btf_id!r} is no type of BTF")
        attach_type = AttachType.TRACE_FEXIT if self._group.kind.on_return else AttachType.TRACE_FENTRY
        copy = self._programs.load_copy(
            self._group.first + member,
            type=ProgramType.TRACING,
            attach_type=attach_type,
            btf_id=btf_id,
            template=self._group.kind.program,
        )
        try:
            return Held((syscalls.open_raw_tracepoint(copy, ""),), copy)
        except KernelError:
            self._programs.drop_copy(copy)
            raise

    def _explain(self, error: KernelError) -> Refusal:
        if error.errno == ENOTSUPP:
            detail = f"this kernel cannot call programs from its functions: {error.message}"
            return Refusal(Reason.KERNEL_CONFIG, detail)
        return _explain(error)


def _function(key: Key) -> int | str:
    if isinstance(key, tuple):
        raise TypeError(f"{key!r} is no function")
    return key
