"""What of this backend works on this host, for `ebpf-bot doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import Final

from ebpf_bot_core import BackendError, Diagnosis, Scope
from ebpf_bot_libbpf.features import try_program, try_uprobe_multi
from ebpf_bot_libbpf.finding.function_probes import FentryProbes, KprobeProbes
from ebpf_bot_libbpf.finding.kernel_functions import KernelFunctions
from ebpf_bot_libbpf.finding.suggestions import Suggestions
from ebpf_bot_libbpf.finding.tracefs import Tracefs
from ebpf_bot_libbpf.hints import BTF, SECCOMP_HINT, cannot_work
from ebpf_bot_libbpf.kernel.kernel_error import KernelError
from ebpf_bot_libbpf.kernel.perf_events import online_cpus, open_software
from ebpf_bot_libbpf.kernel.programs import Programs
from ebpf_bot_libbpf.privileges import CAPABILITIES_HINT, Privileges

__all__ = ["diagnose"]

_GRANT: Final = (
    "sudo setpriv --reuid=$(id -u) --regid=$(id -g) --init-groups "
    "--inh-caps=+bpf,+perfmon --ambient-caps=+bpf,+perfmon ebpf-bot ..."
)

_SEE_ABOVE: Final = "no program can be loaded: see above"


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
    yield from _kernel_functions()
    yield _software()


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
        f"kernel 6.6 has it, this is {platform.release()}: uprobe, uretprobe and usdt are attached as perf events, "
        "which needs CAP_SYS_ADMIN and takes the kernel 25-100 ms each to close"
    )
    if error is not None and try_program() is not None:
        remedy = _SEE_ABOVE
    return _answer("libbpf: uprobe_multi", error, works="supported", remedy=remedy, needed=False)


def _programs() -> Diagnosis:
    """Load what a run would load, the larger of its two forms."""
    try:
        Programs(2, scope=Scope.COMMAND, keep=True).close()
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


def _kernel_functions() -> Iterator[Diagnosis]:
    if try_program() is not None:
        yield Diagnosis("libbpf: kernel functions", ok=False, found="unknown", remedy=_SEE_ABOVE)
        return
    tracefs = Tracefs()
    functions, suggestions = KernelFunctions(tracefs), Suggestions()
    for kinds, probes in (
        ("kprobe, kretprobe", KprobeProbes(functions, suggestions)),
        ("fentry, fexit", FentryProbes(functions, suggestions)),
    ):
        refusal = probes.unsupported
        remedy = refusal.reason.hint if refusal else ""
        yield _answer(f"libbpf: {kinds}", refusal, works="supported", remedy=remedy, needed=False)
    tracefs.close()


def _software() -> Diagnosis:
    page_faults, never = 2, (1 << 63) - 1
    try:
        os.close(open_software(page_faults, never, online_cpus()[0]))
    except KernelError as error:
        return _answer("libbpf: software", error, works="", remedy=CAPABILITIES_HINT, needed=False)
    return _answer("libbpf: software", None, works="supported", remedy="")


def _answer(
    subject: str, error: BackendError | None, *, works: str, remedy: str, needed: bool = True
) -> Diagnosis:
    if error is None:
        return Diagnosis(subject, ok=True, found=works, needed=needed)
    return Diagnosis(subject, ok=False, found=error.message, remedy=remedy, needed=needed)
