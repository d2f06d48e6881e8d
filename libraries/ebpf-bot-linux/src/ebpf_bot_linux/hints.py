"""Why a backend cannot work here, in one line, and what to do about it in another."""

from __future__ import annotations

import errno
import platform
from pathlib import Path

from ebpf_bot_core import BackendError
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.privileges import CAPABILITIES_HINT, Privileges

__all__ = ["BTF", "SECCOMP_HINT", "cannot_work"]

BTF = Path("/sys/kernel/btf/vmlinux")

SECCOMP_HINT = (
    "a seccomp filter may forbid bpf(2): start the container with --security-opt seccomp=unconfined "
    "--cap-add BPF --cap-add PERFMON"
)


def cannot_work(error: KernelError, backend: str) -> BackendError:
    """Return the error to show when the programs of a backend could not be loaded or attached, with the likeliest cause.

    Its errno is EPERM wherever a privilege is missing, for with CAP_BPF alone the verifier says EINVAL.
    """
    privileges = Privileges.here()
    denied = bool(privileges.missing) or error.errno in (errno.EPERM, errno.EACCES)
    message, hint = _who_forbids(error, privileges) if denied else _what_lacks(error)
    number = errno.EPERM if denied else error.errno
    return BackendError(f"backend '{backend}': {message}", hint=hint, errno=number, log=error.log)


def _what_lacks(error: KernelError) -> tuple[str, str]:
    """Return what the kernel lacks, and a hint."""
    kernel = platform.release()
    if error.errno == errno.ENOSYS:
        return f"kernel {kernel} has no bpf(2)", "use a kernel built with CONFIG_BPF_SYSCALL"
    if not BTF.exists():
        return f"kernel {kernel} has no BTF", "use a kernel built with CONFIG_DEBUG_INFO_BTF"
    hint = f"kernel 5.17 or newer is needed, this is {kernel}; `ebpf-bot doctor` shows what works here"
    return error.message, hint


def _who_forbids(error: KernelError, privileges: Privileges) -> tuple[str, str]:
    """Return what stands in the way, and a hint."""
    if privileges.missing:
        return f"{error.message}, without {' and '.join(privileges.missing)}", CAPABILITIES_HINT
    if privileges.filtered:
        return error.message, SECCOMP_HINT
    if privileges.lockdown == "confidentiality":
        return f"{error.message}: the kernel is locked down", "boot with lockdown=integrity or less"
    return error.message, CAPABILITIES_HINT
