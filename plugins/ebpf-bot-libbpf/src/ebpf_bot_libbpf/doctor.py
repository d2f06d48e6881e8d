"""What of this backend works on this host, for `ebpf-bot doctor`."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Final

from ebpf_bot_core import BackendError, Diagnosis, Scope
from ebpf_bot_libbpf.features import try_program, try_uprobe_multi
from ebpf_bot_libbpf.finding.tracefs import Tracefs
from ebpf_bot_libbpf.hints import BTF, SECCOMP_HINT, cannot_work
from ebpf_bot_libbpf.kernel.kernel_error import KernelError
from ebpf_bot_libbpf.kernel.programs import Programs
from ebpf_bot_libbpf.privileges import CAPABILITIES_HINT, Privileges

__all__ = ["diagnose"]

_GRANT: Final = (
    "sudo setpriv --reuid=$(id -u) --regid=$(id -g) --init-groups "
    "--inh-caps=+bpf,+perfmon --ambient-caps=+bpf,+perfmon ebpf-bot ..."
)


def diagnose() -> Iterator[Diagnosis]:
    """Yield what was looked at, the causes before what fails for them."""
    privileges = Privileges.here()
    yield _privileges(privileges)
    yield _seccomp(privileges)
    yield _lockdown(privileges)
    yield _btf()
    yield _program()
    yield _uprobe_multi()
    yield _programs()
    yield _tracefs()


def _privileges(privileges: Privileges) -> Diagnosis:
    found = ", ".join(sorted(privileges.capabilities)) or "none of CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN"
    ok = not privileges.missing
    return Diagnosis("libbpf: privileges", ok=ok, found=found, remedy="" if ok else _GRANT, needed=True)


def _seccomp(privileges: Privileges) -> Diagnosis:
    if not privileges.filtered:
        return Diagnosis("libbpf: seccomp", ok=True, found="no filter")
    blocked = try_program() is not None
    found = "a filter, which may forbid bpf(2)" if blocked else "a filter, which lets bpf(2) through"
    return Diagnosis("libbpf: seccomp", ok=not blocked, found=found, remedy=SECCOMP_HINT if blocked else "")


def _lockdown(privileges: Privileges) -> Diagnosis:
    ok = privileges.lockdown != "confidentiality"
    remedy = "" if ok else "boot with lockdown=integrity or lockdown=none on the kernel's command line"
    return Diagnosis(
        "libbpf: lockdown", ok=ok, found=privileges.lockdown or "none", remedy=remedy, needed=True
    )


def _btf() -> Diagnosis:
    ok = BTF.exists()
    remedy = "" if ok else "use a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    return Diagnosis("libbpf: BTF", ok=ok, found=str(BTF) if ok else f"no {BTF}", remedy=remedy, needed=True)


def _program() -> Diagnosis:
    error = try_program()
    return _answer("libbpf: load a program", error, works="loaded", remedy=CAPABILITIES_HINT)


def _uprobe_multi() -> Diagnosis:
    error = try_uprobe_multi()
    remedy = (
        f"uprobe and uretprobe need kernel 6.6, this is {platform.release()}; syscall and tracepoint do not"
    )
    if error is not None and try_program() is not None:
        remedy = "no program can be loaded: see above"
    return _answer("libbpf: uprobe_multi", error, works="supported", remedy=remedy, needed=False)


def _programs() -> Diagnosis:
    """Load what a run would load, the larger of its two forms."""
    try:
        Programs(2, scope=Scope.COMMAND, constants={"keep": True}).close()
    except KernelError as error:
        shown = cannot_work(error)
        return _answer("libbpf: its own programs", shown, works="", remedy=shown.hint)
    return _answer("libbpf: its own programs", None, works="accepted by the verifier", remedy="")


def _tracefs() -> Diagnosis:
    try:
        with Tracefs() as tracefs:
            tracefs.open()
    except BackendError as error:
        remedy = "sudo mount -t tracefs tracefs /sys/kernel/tracing; rawtracepoint: and syscall: need none"
        return _answer("libbpf: tracefs", error, works="", remedy=remedy, needed=False)
    return _answer("libbpf: tracefs", None, works="readable", remedy="", needed=False)


def _answer(
    subject: str, error: BackendError | None, *, works: str, remedy: str, needed: bool = True
) -> Diagnosis:
    if error is None:
        return Diagnosis(subject, ok=True, found=works, needed=needed)
    return Diagnosis(subject, ok=False, found=error.message, remedy=remedy, needed=needed)
