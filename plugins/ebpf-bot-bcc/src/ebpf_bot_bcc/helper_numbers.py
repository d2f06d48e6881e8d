"""The numbers of the kernel's functions for programs, of those that kernels older than BCC do not know.

BCC's headers declare all that its version knows, by names that a kernel's BTF has only if it has the functions. The kernel
documents them in include/uapi/linux/bpf.h, where the last one came with Linux 6.2: newer functions have no numbers.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["defining_missing"]

_FIRST: Final = 186
"""The first after Linux 5.17, which is the oldest that this backend works on."""
_SINCE: Final = (
    *("get_retval", "set_retval", "xdp_get_buff_len", "xdp_load_bytes", "xdp_store_bytes"),
    *("copy_from_user_task", "skb_set_tstamp", "ima_file_hash", "kptr_xchg", "map_lookup_percpu_elem"),
    *("skc_to_mptcp_sock", "dynptr_from_mem", "ringbuf_reserve_dynptr", "ringbuf_submit_dynptr"),
    *("ringbuf_discard_dynptr", "dynptr_read", "dynptr_write", "dynptr_data", "tcp_raw_gen_syncookie_ipv4"),
    *("tcp_raw_gen_syncookie_ipv6", "tcp_raw_check_syncookie_ipv4", "tcp_raw_check_syncookie_ipv6"),
    *("ktime_get_tai_ns", "user_ringbuf_drain", "cgrp_storage_get", "cgrp_storage_delete"),
)


def defining_missing(types: str) -> str:
    """Return definitions, in C, of what a kernel's types have not; the verifier refuses a program that calls one of them."""
    known = set(re.findall(r"\bBPF_FUNC_(\w+)", types))
    return "".join(
        f"#define BPF_FUNC_{name} {number}\n"
        for number, name in enumerate(_SINCE, _FIRST)
        if name not in known
    )
