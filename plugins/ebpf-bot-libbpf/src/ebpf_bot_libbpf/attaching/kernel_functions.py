"""Attaching functions of the kernel: kprobes, many by one link or each by a perf event, and fentry."""

from __future__ import annotations

import errno
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Reason
from ebpf_bot_libbpf.attaching.attacher import Refusal
from ebpf_bot_libbpf.attaching.closing import Closer
from ebpf_bot_libbpf.attaching.isolation import isolate
from ebpf_bot_libbpf.attaching.one_by_one import Held, OneByOne, link_event
from ebpf_bot_libbpf.kernel import perf_events, syscalls
from ebpf_bot_libbpf.kernel.abi import AttachType, ProgramType
from ebpf_bot_libbpf.kernel.descriptors import refuse_if_scarce
from ebpf_bot_libbpf.kernel.kernel_error import ENOTSUPP, KernelError
from ebpf_bot_libbpf.kernel.programs import Programs
from ebpf_bot_libbpf.sites import Key, SiteGroup

__all__ = ["Fentries", "KprobeEvents", "KprobeLinks"]

_NOT_TRACEABLE: Final = "the kernel does not let this function be probed (notrace, or it traces itself there)"
_OF_A_FUNCTION: Final = (errno.EINVAL, errno.ENOENT, errno.ESRCH, errno.EILSEQ, errno.EADDRNOTAVAIL)


def _explain(error: KernelError) -> Refusal:
    if error.errno in _OF_A_FUNCTION:
        return Refusal(Reason.ATTACH_FAILED, f"{_NOT_TRACEABLE}: {error.message}")
    return Refusal.of(error)


class KprobeLinks:
    """Functions of the kernel, or the returns from there, by one kprobe_multi link; an `Attacher`. Kernel 5.18."""

    def __init__(self, group: SiteGroup, programs: Programs, closer: Closer) -> None:
        self._group: Final = group
        self._programs = programs
        self._closer = closer
        self._attached = np.zeros(len(group.keys), np.bool_)
        self._links: list[int] = []

    def attach(self, members: NDArray[np.intp]) -> dict[int, Refusal]:
        """Attach members; those that the kernel refuses are found and left out."""
        refused: dict[int, Refusal] = {}
        try:
            refuse_if_scarce("attach kprobes")
            self._links += self._link(members, "kprobe_hit")
        except KernelError as error:
            if error.errno not in _OF_A_FUNCTION:
                return dict.fromkeys(members.tolist(), _explain(error))
            refused = {member: _explain(why) for member, why in isolate(members, self._try).items()}
            members = np.setdiff1d(members, np.fromiter(refused, np.intp, len(refused)))
            try:
                self._links += self._link(members, "kprobe_hit")
            except KernelError as again:
                return refused | dict.fromkeys(members.tolist(), _explain(again))
        self._attached[members] = True
        return refused

    def detach(self, members: NDArray[np.intp]) -> None:
        """Step off members: first a link on those that stay, then the old ones are closed."""
        staying = self._attached.copy()
        staying[members] = False
        old = self._links
        self._links = self._link(np.flatnonzero(staying), "kprobe_hit")
        self._attached = staying
        self._closer.close(old)

    def close(self) -> None:
        """Begin to detach all."""
        self._closer.close(self._links)
        self._links = []
        self._attached[:] = False

    def _try(self, members: NDArray[np.intp]) -> None:
        """Attach and detach a program that does nothing, so that no hit is counted twice meanwhile."""
        self._closer.close(self._link(members, "kprobe_trial"))

    def _link(self, members: NDArray[np.intp], program: str) -> list[int]:
        """Link functions by their names, and by their addresses those that share a name; one link takes one or other."""
        links: list[int] = []
        try:
            for by in (str, int):
                part = [member for member in members.tolist() if isinstance(self._group.keys[member], by)]
                if part:
                    links.append(
                        syscalls.attach_kprobes(
                            self._programs[program],
                            [_function(self._group.keys[member]) for member in part],
                            np.array(part, np.uint64) + np.uint64(self._group.first),
                            on_return=self._group.kind.on_return,
                        )
                    )
        except KernelError:
            self._closer.close(links)
            raise
        return links


class KprobeEvents(OneByOne):
    """Functions of the kernel, or the returns from there, each by a perf event; kernel 5.17, CAP_SYS_ADMIN.

    The kernel closes them one after the other, some 30 ms each.
    """

    def _hold(self, member: int) -> Held:
        function = _function(self._group.keys[member])
        event = perf_events.open_kernel_function(function, on_return=self._group.kind.on_return)
        return Held((link_event(self._programs["event_hit"], event, self._group.first + member),))

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
            self._group.first + member, type=ProgramType.TRACING, attach_type=attach_type, btf_id=btf_id
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
