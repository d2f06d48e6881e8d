"""The two system calls behind everything here, bpf(2) and perf_event_open(2), one function for each use.

Every descriptor that comes back is close-on-exec, so that no command started later keeps a probe alive.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import BackendError
from ebpf_bot_linux.kernel import abi
from ebpf_bot_linux.kernel.abi import AttachType, ProgramType
from ebpf_bot_linux.kernel.kernel_error import KernelError

__all__ = [
    "attach_kprobes",
    "attach_perf_event",
    "attach_uprobes",
    "create_array",
    "create_map",
    "load_program",
    "open_perf_event",
    "open_raw_tracepoint",
    "read_element",
    "recursion_misses",
    "run_program",
    "update_element",
]

_NUMBERS: Final = {"x86_64": (321, 298), "aarch64": (280, 241)}
"""Machine -> numbers of bpf(2) and perf_event_open(2)."""

_LOG_BYTES: Final = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def create_map(
    type: int,  # noqa: A002 - as the kernel calls it
    *,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    name: bytes = b"",
) -> int:
    """Create a map and return its descriptor; the arguments are those of BPF_MAP_CREATE."""
    attr = abi.MapCreate(
        type=type, key_size=key_size, value_size=value_size, max_entries=max_entries, flags=flags, name=name
    )
    shown = f" {name.decode()}" if name else ""
    return _bpf(abi.Command.MAP_CREATE, attr, f"create the map{shown}")


def create_array(value_size: int) -> int:
    """Create an ARRAY map of one element and return its descriptor; kernel 3.19."""
    return create_map(2, key_size=4, value_size=value_size, max_entries=1)


def update_element(map_fd: int, value: bytes, index: int = 0) -> None:
    """Set an element, the first unless told otherwise, of an ARRAY map, or of a map that is numbered as one."""
    key = ctypes.c_uint32(index)
    held = ctypes.create_string_buffer(value, len(value))
    attr = abi.MapUpdate(map_fd=map_fd, key=ctypes.addressof(key), value=ctypes.addressof(held))
    _bpf(abi.Command.MAP_UPDATE_ELEM, attr, "fill a map")


def read_element(map_fd: int, index: int, size: int) -> bytes:
    """Return an element of an ARRAY map, of so many bytes; kernel 3.19."""
    key = ctypes.c_uint32(index)
    held = ctypes.create_string_buffer(size)
    attr = abi.MapUpdate(map_fd=map_fd, key=ctypes.addressof(key), value=ctypes.addressof(held))
    _bpf(abi.Command.MAP_LOOKUP_ELEM, attr, "read a map")
    return held.raw


def load_program(
    insns: bytes,
    *,
    type: ProgramType,  # noqa: A002 - as the kernel calls it
    attach_type: AttachType = AttachType.NONE,
    flags: int = 0,
    name: bytes = b"",
    map_fds: tuple[int, ...] = (),
    btf_id: int = 0,
    license: str = "GPL",  # noqa: A002 - likewise
    logs: bool = False,
) -> int:
    """Load a program and return its descriptor.

    Args:
        insns: 8 bytes an instruction.
        map_fds: what BPF_PSEUDO_MAP_IDX instructions refer to; kernel 5.14.
        btf_id: what a program of type TRACING traces, as a type of the kernel's BTF; kernel 5.5.
        license: the kernel lends most of its helpers to programs under the GPL alone.
        logs: whether a refusal is asked for again, so that its error has the verifier's log.

    Raises:
        KernelError: EPERM without CAP_BPF and CAP_PERFMON; EINVAL where type and attach type do not fit or are unknown.
    """
    code = ctypes.create_string_buffer(insns, len(insns))
    license_ = ctypes.create_string_buffer(license.encode())
    fds = (ctypes.c_int32 * max(len(map_fds), 1))(*map_fds)
    attr = abi.ProgramLoad(
        type=type,
        insn_cnt=len(insns) // 8,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(license_),
        flags=flags,
        name=name,
        expected_attach_type=attach_type,
        attach_btf_id=btf_id,
        fd_array=ctypes.addressof(fds) if map_fds else 0,
    )
    action = f"load the eBPF program {name.decode()}" if name else "load an eBPF program"
    try:
        return _bpf(abi.Command.PROG_LOAD, attr, action)
    except KernelError as error:
        if not logs:
            raise
        log = ctypes.create_string_buffer(_LOG_BYTES)
        attr.log_level, attr.log_size, attr.log_buf = 1, len(log), ctypes.addressof(log)
        try:
            return _bpf(abi.Command.PROG_LOAD, attr, action)
        except KernelError:
            raise KernelError(action, error.errno, log.value.decode("utf-8", "replace")) from error


def run_program(prog_fd: int, context: ctypes.Array[ctypes.c_char] | None = None) -> int:
    """Run a raw tracepoint or syscall program in the calling thread and return what it returns, 32 bits unsigned.

    Args:
        context: what the program is given, and may write to; kernel 5.10 for raw tracepoint programs (without
            context), 5.14 for syscall programs.
    """
    attr = abi.ProgramRun(prog_fd=prog_fd)
    if context is not None:
        attr.ctx_in = ctypes.addressof(context)
        attr.ctx_size_in = len(context)
    _bpf(abi.Command.PROG_TEST_RUN, attr, "run an eBPF program")
    return int(attr.retval)


def recursion_misses(prog_fd: int) -> int:
    """Return how often the kernel left a program out because it, or another, ran on that CPU; kernel 5.12.

    Needs no privilege on one's own programs.
    """
    offset = 208  # struct bpf_prog_info.recursion_misses
    info = ctypes.create_string_buffer(offset + 8)
    attr = abi.InfoByFd(fd=prog_fd, info_len=len(info), info=ctypes.addressof(info))
    _bpf(abi.Command.OBJ_GET_INFO_BY_FD, attr, "read a program's statistics")
    return ctypes.c_uint64.from_buffer(info, offset).value


def open_raw_tracepoint(prog_fd: int, name: str, *, cookie: int = 0) -> int:
    """Attach a raw tracepoint program by the tracepoint's name; the descriptor holds it.

    Kernel 4.17; with a cookie 6.10. A program of type TRACING knows itself what it traces: it is attached by no name,
    kernel 5.5.

    Raises:
        KernelError: ENOENT for a name that this kernel does not have.
    """
    text = ctypes.create_string_buffer(os.fsencode(name))
    attr = abi.RawTracepointOpen(name=ctypes.addressof(text) if name else 0, prog_fd=prog_fd, cookie=cookie)
    action = f"attach to the raw tracepoint {name}" if name else "attach a tracing program"
    return _bpf(abi.Command.RAW_TRACEPOINT_OPEN, attr, action)


def attach_perf_event(prog_fd: int, event_fd: int, *, cookie: int) -> int:
    """Attach a program to a perf event, which the link then keeps; kernel 5.15."""
    attr = abi.PerfLink(prog_fd=prog_fd, target_fd=event_fd, attach_type=AttachType.PERF_EVENT, cookie=cookie)
    return _bpf(abi.Command.LINK_CREATE, attr, "attach to a perf event")


def attach_uprobes(
    prog_fd: int,
    path: str,
    offsets: NDArray[np.uint64],
    cookies: NDArray[np.uint64],
    *,
    on_return: bool,
    semaphores: NDArray[np.uint64] | None = None,
) -> int:
    """Attach a program to many places of one file, all or none; the descriptor of the link holds them.

    Kernel 6.6. At most 2**20 places, else E2BIG.

    Args:
        offsets: file offsets, shape (n,).
        cookies: what the program gets as its attach cookie at each, shape (n,).
        semaphores: file offsets of the 16-bit counters that are to be one higher meanwhile, 0 for none, shape (n,).

    Raises:
        KernelError: one of the places cannot be probed; the kernel does not say which.
    """
    held = ctypes.create_string_buffer(os.fsencode(path))
    offsets = np.ascontiguousarray(offsets, np.uint64)
    cookies = np.ascontiguousarray(cookies, np.uint64)
    counters = np.ascontiguousarray([] if semaphores is None else semaphores, np.uint64)
    attr = abi.UprobeMultiLink(
        prog_fd=prog_fd,
        attach_type=AttachType.UPROBE_MULTI,
        path=ctypes.addressof(held),
        offsets=offsets.ctypes.data,
        ref_ctr_offsets=counters.ctypes.data if len(counters) else 0,
        cookies=cookies.ctypes.data,
        cnt=len(offsets),
        uprobe_flags=int(on_return),  # BPF_F_UPROBE_MULTI_RETURN
    )
    return _bpf(abi.Command.LINK_CREATE, attr, "attach uprobes")


def attach_kprobes(
    prog_fd: int, functions: Sequence[int | str], cookies: NDArray[np.uint64], *, on_return: bool
) -> int:
    """Attach a program to many functions of the kernel, all or none; the descriptor of the link holds them.

    Kernel 5.18, CONFIG_FPROBE.

    Args:
        functions: the address of each, or the name of each.
        cookies: what the program gets as its attach cookie at each, shape (n,).

    Raises:
        KernelError: one of them cannot be probed (ESRCH: there is no such name); the kernel does not say which.
            EOPNOTSUPP where the kernel has no fprobes.
    """
    cookies = np.ascontiguousarray(cookies, np.uint64)
    attr = abi.KprobeMultiLink(
        prog_fd=prog_fd,
        attach_type=AttachType.KPROBE_MULTI,
        multi_flags=int(on_return),  # BPF_F_KPROBE_MULTI_RETURN
        cnt=len(functions),
        cookies=cookies.ctypes.data,
    )
    if all(isinstance(function, int) for function in functions):
        addresses = np.array(functions, np.uint64)
        attr.addrs = addresses.ctypes.data
    else:
        texts = [ctypes.create_string_buffer(str(function).encode()) for function in functions]
        names = np.array([ctypes.addressof(text) for text in texts], np.uint64)
        attr.syms = names.ctypes.data
    return _bpf(abi.Command.LINK_CREATE, attr, "attach kprobes")


def open_perf_event(attr: abi.PerfEventAttr, action: str, *, cpu: int = 0) -> int:
    """Open a perf event for all processes on one CPU and return its descriptor.

    Args:
        attr: what is to be opened; its size is set here.
        action: that in words, for the error.
    """
    attr.size = ctypes.sizeof(attr)
    everyone, no_group, close_on_exec = -1, -1, 8
    return _call(
        _numbers()[1],
        action,
        ctypes.byref(attr),
        ctypes.c_int(everyone),
        ctypes.c_int(cpu),
        ctypes.c_int(no_group),
        ctypes.c_ulong(close_on_exec),
    )


def _bpf(command: abi.Command, attr: ctypes.Structure, action: str) -> int:
    return _call(
        _numbers()[0], action, ctypes.c_int(command), ctypes.byref(attr), ctypes.c_uint(ctypes.sizeof(attr))
    )


def _call(number: int, action: str, *args: Any) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *args))
    if result < 0:
        raise KernelError(action, ctypes.get_errno())
    return result


def _numbers() -> tuple[int, int]:
    machine = platform.machine()
    if machine not in _NUMBERS:
        raise BackendError(f"no system call numbers are known for {machine}", hint="use another backend")
    return _NUMBERS[machine]
