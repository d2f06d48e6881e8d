"""Kernel headers for bcc, made of the running kernel's BTF.

bcc includes the kernel's headers by name. Those of another version than the running kernel give wrong layouts of structs
without a word, and a machine of the cloud often has none. Here each name that bcc asks for is an empty file, and one
file, included first, has all types of the running kernel.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

_EMPTY = [
    "linux/types.h",
    "linux/bpf_common.h",
    "linux/version.h",
    "linux/log2.h",
    "linux/sched.h",
    "linux/fs.h",
    "linux/ptrace.h",
    "linux/bpf.h",
    "linux/bpf_perf_event.h",
    "linux/if_packet.h",
    "linux/nsproxy.h",
    "linux/pid_namespace.h",
    "linux/sched/signal.h",
    "net/sock.h",
    "linux/tcp.h",
    "linux/mm_types.h",
    "linux/blkdev.h",
    "linux/dcache.h",
    "linux/uio.h",
    "linux/utsname.h",
    "asm/page.h",
]
_FIRST = """#ifndef FROM_BTF
#define FROM_BTF
#define _UAPI__LINUX_BPF_H__
#define __LINUX_BPF_H__
#define BPF_NO_PRESERVE_ACCESS_INDEX
#define CONFIG_BPF_SYSCALL 1
#define CONFIG_ARCH_HAS_SYSCALL_WRAPPER 1
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_CODE KERNEL_VERSION(%s, %s, %s)
#include "vmlinux.h"
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define NULL ((void *)0)
#define asm_inline asm
#define TASK_COMM_LEN 16
#define PERF_MAX_STACK_DEPTH 127
#define __user
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define PAGE_SIZE 4096
#define offsetof(t, m) __builtin_offsetof(t, m)
#endif
"""

__all__ = ["make"]


def make(folder: Path) -> Path:
    """Return a directory for `BCC_KERNEL_SOURCE`, made once in `folder`; needs bpftool and a kernel with BTF."""
    source = folder / "kernel"
    if source.exists():
        return source
    for name in _EMPTY:
        for above in ("include", "include/uapi"):
            empty = source / above / name
            empty.parent.mkdir(parents=True, exist_ok=True)
            empty.touch()
    (source / "arch/x86/include").mkdir(parents=True)
    numbers = re.findall(r"\d+", platform.release())[:3]
    (source / "include/linux/kconfig.h").write_text(_FIRST % tuple(numbers), encoding="ascii")
    with (source / "include/vmlinux.h").open("wb") as types:
        subprocess.run(
            ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"],
            stdout=types,
            check=True,
            timeout=60,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
    return source
