"""Kernel headers made of the kernel's own description of its types, for machines that have none.

BCC compiles against the headers of the running kernel. Where they are not installed, this writes a folder that serves in
their place: one header with every type of the kernel's BTF, and empty ones for what BCC's own headers include. Their structs
are laid out as this kernel has them, which is more than headers of a neighbouring version are. What BTF does not know are
macros: of those only what BCC's own headers use is there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ebpf_bot_bcc.cache import private_folder
from ebpf_bot_bcc.helper_numbers import defining_missing
from ebpf_bot_bcc.overlay import AFTER, BEFORE
from ebpf_bot_core import BackendError

__all__ = ["BTF", "kernel_build_id", "shim"]

BTF: Final = Path("/sys/kernel/btf/vmlinux")
_NOTES: Final = Path("/sys/kernel/notes")
_NOTE: Final = struct.Struct("=III")  # Elf64_Nhdr: name size, description size, type
_BUILD_ID: Final = 3  # NT_GNU_BUILD_ID
_FORMAT: Final = "3"
"""Changes with what is written here, so that an older folder is not taken for it."""
_BCC_INCLUDES: Final = (
    "asm/page.h",
    "linux/bpf.h",
    "linux/bpf_common.h",
    "linux/bpf_perf_event.h",
    "linux/fs.h",
    "linux/if_packet.h",
    "linux/log2.h",
    "linux/ptrace.h",
    "linux/sched.h",
    "linux/types.h",
    "linux/version.h",
)
"""What BCC's own headers include; each also below `uapi`."""

_KCONFIG: Final = """\
#pragma once
/* Written by ebpf-bot-bcc of the BTF of kernel {release}; included before everything else. */
#define _UAPI__LINUX_BPF_H__ /* BCC has copies of what vmlinux.h has */
#define __LINUX_BPF_H__
#define BPF_NO_PRESERVE_ACCESS_INDEX
#define CONFIG_BPF_SYSCALL 1
#define CONFIG_ARCH_HAS_SYSCALL_WRAPPER 1
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_CODE KERNEL_VERSION({version})
#if __has_include("{before}")
#include "{before}"
#endif
#include "vmlinux.h"
#if __has_include("{after}")
#include "{after}"
#endif
#define NULL ((void *)0)
#define __user
#define asm_inline asm
#define __always_inline inline __attribute__((always_inline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define offsetof(type, member) __builtin_offsetof(type, member)
#define roundup_pow_of_two(n) ((n) <= 1 ? 1UL : 1UL << (64 - __builtin_clzl((unsigned long)(n) - 1)))
#define PAGE_SIZE {page}
#define TASK_COMM_LEN 16
#define PERF_MAX_STACK_DEPTH 127
"""


def shim(declare: Callable[[Path], None]) -> Path:
    """Return the folder for this kernel, made at the first call and kept by the kernel's build id.

    Args:
        declare: writes the types of the kernel's BTF to a file, as C.

    Raises:
        BackendError: the kernel has no BTF, or the folder cannot be written.
    """
    if not BTF.exists():
        raise BackendError(
            f"backend 'bcc': kernel {platform.release()} has neither headers here nor BTF to make them of",
            hint="install the headers of the running kernel: apt-get install linux-headers-$(uname -r)",
        )
    try:
        return _kept(private_folder("bcc-headers"), declare)
    except OSError as error:
        raise BackendError(
            f"backend 'bcc': the kernel's types cannot be kept: {error}",
            hint="set XDG_CACHE_HOME to a folder of yours that can be written",
        ) from error


def kernel_build_id() -> str:
    """Return what tells this build of the kernel from every other, in hex; its release where it does not tell."""
    try:
        notes = _NOTES.read_bytes()
    except OSError:
        return platform.release()
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, at)
        at += _NOTE.size
        name, at = notes[at : at + name_size], at + -(-name_size // 4) * 4
        description, at = notes[at : at + size], at + -(-size // 4) * 4
        if kind == _BUILD_ID and name == b"GNU\0":
            return description.hex()
    return platform.release()


def _kept(cache: Path, declare: Callable[[Path], None]) -> Path:
    folder = cache / f"{kernel_build_id()}-{_FORMAT}"
    if folder.is_dir():
        return folder
    scratch = Path(tempfile.mkdtemp(prefix="new-", dir=cache))
    try:
        _write(scratch, declare)
        scratch.rename(folder)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if not (isinstance(error, OSError) and folder.is_dir()):  # else another process was first
            raise
    return folder


def _write(folder: Path, declare: Callable[[Path], None]) -> None:
    for name in _BCC_INCLUDES:
        for header in (folder / "include" / name, folder / "include" / "uapi" / name):
            header.parent.mkdir(parents=True, exist_ok=True)
            header.touch()
    for machine in ("x86", "arm64"):
        (folder / "arch" / machine / "include").mkdir(parents=True)
    release = platform.release()
    numbers = [*re.findall(r"\d+", release), "0", "0", "0"][:3]
    text = _KCONFIG.format(
        release=release,
        before=BEFORE,
        after=AFTER,
        version=", ".join(numbers),
        page=os.sysconf("SC_PAGE_SIZE"),
    )
    (folder / "include" / "linux" / "kconfig.h").write_text(text, encoding="ascii")
    types = folder / "include" / "vmlinux.h"
    declare(types)
    missing = defining_missing(types.read_text(encoding="utf-8"))
    with types.open("a", encoding="utf-8") as file:
        file.write(missing)
