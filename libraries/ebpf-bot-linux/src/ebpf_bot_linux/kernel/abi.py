"""The kernel's numbers and structs, as linux/bpf.h and linux/perf_event.h have them.

Each struct is the part that is used of `union bpf_attr` or `struct perf_event_attr`; the kernel takes a shorter one as
one whose other fields are zero.
"""

from __future__ import annotations

import ctypes
import enum

__all__ = [
    "AttachType",
    "Command",
    "InfoByFd",
    "KprobeMultiLink",
    "MapCreate",
    "MapUpdate",
    "PerfEventAttr",
    "PerfLink",
    "ProgramLoad",
    "ProgramRun",
    "ProgramType",
    "RawTracepointOpen",
    "UprobeMultiLink",
]


class ProgramType(enum.IntEnum):
    """Some of `enum bpf_prog_type`."""

    KPROBE = 2
    TRACEPOINT = 5
    PERF_EVENT = 7
    RAW_TRACEPOINT = 17
    TRACING = 26
    SYSCALL = 31


class AttachType(enum.IntEnum):
    """Some of `enum bpf_attach_type`."""

    NONE = 0
    TRACE_FENTRY = 24
    TRACE_FEXIT = 25
    PERF_EVENT = 41
    KPROBE_MULTI = 42
    UPROBE_MULTI = 48


class Command(enum.IntEnum):
    """Some of `enum bpf_cmd`."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    PROG_LOAD = 5
    PROG_TEST_RUN = 10
    OBJ_GET_INFO_BY_FD = 15
    RAW_TRACEPOINT_OPEN = 17
    LINK_CREATE = 28


_u32, _u64, _ptr = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint64


class MapCreate(ctypes.Structure):
    """BPF_MAP_CREATE."""

    _fields_ = (
        ("type", _u32),
        ("key_size", _u32),
        ("value_size", _u32),
        ("max_entries", _u32),
        ("flags", _u32),
        ("inner_map_fd", _u32),
        ("numa_node", _u32),
        ("name", ctypes.c_char * 16),
    )


class MapUpdate(ctypes.Structure):
    """BPF_MAP_UPDATE_ELEM."""

    _fields_ = (("map_fd", _u32), ("key", _ptr), ("value", _ptr), ("flags", _u64))


class ProgramLoad(ctypes.Structure):
    """BPF_PROG_LOAD."""

    _fields_ = (
        ("type", _u32),
        ("insn_cnt", _u32),
        ("insns", _ptr),
        ("license", _ptr),
        ("log_level", _u32),
        ("log_size", _u32),
        ("log_buf", _ptr),
        ("kern_version", _u32),
        ("flags", _u32),
        ("name", ctypes.c_char * 16),
        ("ifindex", _u32),
        ("expected_attach_type", _u32),
        ("btf", _u32 * 9),  # debug information, which is not given
        ("attach_btf_id", _u32),
        ("attach_btf_obj_fd", _u32),
        ("core_relo_cnt", _u32),
        ("fd_array", _ptr),
    )


class ProgramRun(ctypes.Structure):
    """BPF_PROG_TEST_RUN."""

    _fields_ = (
        ("prog_fd", _u32),
        ("retval", _u32),
        ("data", _u32 * 2),
        ("data_in", _ptr),
        ("data_out", _ptr),
        ("repeat", _u32),
        ("duration", _u32),
        ("ctx_size_in", _u32),
        ("ctx_size_out", _u32),
        ("ctx_in", _ptr),
        ("ctx_out", _ptr),
        ("flags", _u32),
        ("cpu", _u32),
    )


class InfoByFd(ctypes.Structure):
    """BPF_OBJ_GET_INFO_BY_FD."""

    _fields_ = (("fd", _u32), ("info_len", _u32), ("info", _ptr))


class RawTracepointOpen(ctypes.Structure):
    """BPF_RAW_TRACEPOINT_OPEN."""

    _fields_ = (("name", _ptr), ("prog_fd", _u32), ("cookie", _u64))


_LINK = (("prog_fd", _u32), ("target_fd", _u32), ("attach_type", _u32), ("flags", _u32))
"""The first fields of every BPF_LINK_CREATE; what follows depends on the attach type."""


class PerfLink(ctypes.Structure):
    """BPF_LINK_CREATE on a perf event."""

    _fields_ = (*_LINK, ("cookie", _u64))


class UprobeMultiLink(ctypes.Structure):
    """BPF_LINK_CREATE with BPF_TRACE_UPROBE_MULTI."""

    _fields_ = (
        *_LINK,
        ("path", _ptr),
        ("offsets", _ptr),
        ("ref_ctr_offsets", _ptr),
        ("cookies", _ptr),
        ("cnt", _u32),
        ("uprobe_flags", _u32),
        ("pid", _u32),
    )


class KprobeMultiLink(ctypes.Structure):
    """BPF_LINK_CREATE with BPF_TRACE_KPROBE_MULTI."""

    _fields_ = (
        *_LINK,
        ("multi_flags", _u32),
        ("cnt", _u32),
        ("syms", _ptr),
        ("addrs", _ptr),
        ("cookies", _ptr),
    )


class PerfEventAttr(ctypes.Structure):
    """`struct perf_event_attr` of 96 bytes (PERF_ATTR_SIZE_VER3), kernel 3.7; its last field is read from 4.1 on."""

    _fields_ = (
        ("type", _u32),
        ("size", _u32),
        ("config", _u64),
        ("sample_period", _u64),
        ("sample_type", _u64),
        ("read_format", _u64),
        ("flags", _u64),
        ("wakeup_events", _u32),
        ("bp_type", _u32),
        ("config1", _u64),
        ("config2", _u64),
        ("branch_sample_type", _u64),
        ("sample_regs_user", _u64),
        ("sample_stack_user", _u32),
        ("clockid", ctypes.c_int32),
    )
