"""The catalogue: what there is to probe on the simulated host, a web shop with its libraries and kernel."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Final

from ebpf_bot_core import ProbeKind

__all__ = ["KNOWN_FAULTS", "KNOWN_RATES", "PROGRAMS", "Catalogue"]

_CHECKOUT: Final = "/usr/bin/checkout"

_CHECKOUT_RATES: Final = {
    "main": 1.0,
    "parse_cart": 3.0,
    "price_items": 7.5,
    "apply_discount": 0.6,
    "authorize_payment": 1.5,
    "capture_payment": 0.9,
    "send_receipt": 0.8,
    "retry_payment": 0.15,
    "refund_order": 0.0,
}
"""What `checkout` runs. No one ever asks for a refund: that gap is there for every seed."""

_CHECKOUT_IMPORTS: Final = ("strlen",)

PROGRAMS: Final = ("checkout", "ledger", "nginx", "postgres")
"""The names of the processes that hit what lies in no file, such as syscalls."""

_BINARIES: Final[Mapping[str, Sequence[str]]] = {
    _CHECKOUT: (*_CHECKOUT_RATES, *_CHECKOUT_IMPORTS),
    "/usr/bin/ledger": tuple(
        f"{noun}_{verb}"
        for noun in ("account", "booking", "entry", "journal", "period")
        for verb in ("open", "find", "post", "reverse", "close")
    ),
    "/usr/lib/libpayments.so.2": tuple(
        f"pay_{noun}_{verb}"
        for noun in ("card", "iban", "wallet", "voucher", "token", "fee", "limit", "batch")
        for verb in ("new", "check", "hold", "settle", "free")
    ),
    "/usr/lib/libspin.so.1": (
        "lock_init", "lock_acquire", "lock_try", "lock_release", "queue_push", "queue_pop",
    ),
}  # fmt: skip

_USDT: Final[Mapping[str, Sequence[str]]] = {
    _CHECKOUT: ("order:placed", "order:paid", "order:failed"),
    "/usr/lib/libpayments.so.2": ("pay:hold", "pay:settle"),
}

_TRACEPOINTS: Final[Mapping[str, Sequence[str]]] = {
    "sched": ("sched_switch", "sched_wakeup", "sched_process_exec", "sched_process_exit"),
    "tcp": ("tcp_probe", "tcp_retransmit_skb", "tcp_send_reset", "tcp_receive_reset"),
    "block": ("block_rq_issue", "block_rq_complete"),
    "oom": ("mark_victim",),
}

_SYSCALLS: Final = (
    "accept4", "bind", "brk", "clone3", "close", "connect", "epoll_wait", "execve", "exit_group", "fcntl",
    "fsync", "futex", "getpid", "listen", "lseek", "mmap", "mprotect", "munmap", "openat", "poll",
    "pread64", "prlimit64", "pwrite64", "read", "recvfrom", "rename", "sendto", "socket", "statx",
    "unlink", "wait4", "write",
)  # fmt: skip

_KERNEL_FUNCTIONS: Final = (
    "do_exit", "do_sys_openat2", "ip_output", "ip_rcv", "schedule", "tcp_connect", "tcp_recvmsg",
    "tcp_sendmsg", "vfs_fsync", "vfs_open", "vfs_read", "vfs_write",
)  # fmt: skip

_FLAT: Final[Mapping[ProbeKind, Sequence[str]]] = {
    ProbeKind.RAWTRACEPOINT: ("sys_enter", "sys_exit", "sched_switch", "sched_process_exec"),
    ProbeKind.KPROBE: _KERNEL_FUNCTIONS,
    ProbeKind.KRETPROBE: _KERNEL_FUNCTIONS,
    ProbeKind.FENTRY: _KERNEL_FUNCTIONS,
    ProbeKind.FEXIT: _KERNEL_FUNCTIONS,
    ProbeKind.SOFTWARE: ("page-faults:100", "context-switches:100", "cpu-migrations:1"),
    ProbeKind.SYSCALL: _SYSCALLS,
}

KNOWN_RATES: Final = {
    **{
        f"{kind}:{_CHECKOUT}:{function}": rate
        for kind in ("uprobe", "uretprobe")
        for function, rate in _CHECKOUT_RATES.items()
    },
    "syscall:openat": 40.0,
    "tracepoint:sched:sched_switch": 200.0,
}
"""Hits a tick of the probes that have the same rate under every seed."""

KNOWN_FAULTS: Final = {
    f"{kind}:{_CHECKOUT}:{function}": "imported"
    for kind in ("uprobe", "uretprobe")
    for function in _CHECKOUT_IMPORTS
}
"""What is wrong with probes of the catalogue, as in the option `faults`."""


class Catalogue:
    """Answers what patterns can match.

    Args:
        binaries: programs and libraries beside the built-in ones, as in the option of this name.
    """

    def __init__(self, binaries: Mapping[str, int]) -> None:
        more = {path: tuple(f"function_{i}" for i in range(count)) for path, count in binaries.items()}
        self._functions = {**_BINARIES, **more}

    def targets(self, kind: ProbeKind, target: str) -> list[str]:
        """Return the binaries, or categories of tracepoints, that the target of a pattern names.

        A target without a slash is a bare program or library name: `checkout`, `libpayments`.
        """
        if kind is ProbeKind.TRACEPOINT:
            return fnmatch.filter(_TRACEPOINTS, target)
        if not kind.in_binary:
            return [""]
        if "/" in target:
            return [path for path in self._functions if path == target or fnmatch.fnmatchcase(path, target)]
        return [path for path in self._functions if _is_called(path.rpartition("/")[2], target)]

    def names(self, kind: ProbeKind, target: str) -> Sequence[str]:
        """Return what can be probed in a target that `targets` returned."""
        if kind is ProbeKind.TRACEPOINT:
            return _TRACEPOINTS[target]
        if kind is ProbeKind.USDT:
            return _USDT.get(target, ())
        return self._functions[target] if kind.in_binary else _FLAT[kind]


def _is_called(file: str, bare: str) -> bool:
    library = file.partition(".so")[0]
    return bare == file or any(fnmatch.fnmatchcase(name, bare) for name in (file, library, f"{library}.so"))
