"""What works on this host, for `ebpf-bot doctor`: all that is asked of the kernel, and whether it takes the programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import Final

import attrs

from ebpf_bot_core import BackendError, Diagnosis, Scope
from ebpf_bot_linux.features import try_program, try_uprobe_multi
from ebpf_bot_linux.finding.function_probes import FentryProbes, KprobeProbes
from ebpf_bot_linux.finding.kernel_functions import KernelFunctions
from ebpf_bot_linux.finding.suggestions import Suggestions
from ebpf_bot_linux.finding.tracefs import Tracefs
from ebpf_bot_linux.hints import BTF, SECCOMP_HINT, cannot_work
from ebpf_bot_linux.kernel.kernel_error import KernelError
from ebpf_bot_linux.kernel.loaded import Loader
from ebpf_bot_linux.kernel.perf_events import online_cpus, open_software
from ebpf_bot_linux.kernel.programs import Programs
from ebpf_bot_linux.privileges import CAPABILITIES_HINT, Privileges

__all__ = ["diagnose_host", "diagnose_programs"]

_GRANT: Final = (
    "sudo setpriv --reuid=$(id -u) --regid=$(id -g) --init-groups "
    "--inh-caps=+bpf,+perfmon --ambient-caps=+bpf,+perfmon ebpf-bot ..."
)

_SEE_ABOVE: Final = "no program can be loaded: see above"


def diagnose_host(backend: str) -> Iterator[Diagnosis]:
    """Yield what was looked at of the host, the causes before what fails for them."""
    privileges = Privileges.here()
    looked_at = (
        _privileges(privileges),
        _seccomp(privileges),
        _lockdown(privileges),
        _btf(),
        _program(),
        _uprobe_multi(),
        _tracefs(),
        *_kernel_functions(),
        _software(),
    )
    for each in looked_at:
        yield attrs.evolve(each, subject=f"{backend}: {each.subject}")


def diagnose_programs(loader: Loader, backend: str) -> Diagnosis:
    """Load what a run would load, the larger of its two forms."""
    subject = f"{backend}: its own programs"
    try:
        Programs(loader, 2, scope=Scope.COMMAND, keep=True).close()
    except KernelError as error:
        shown = cannot_work(error, backend)
        return _answer(subject, shown, works="", remedy=shown.hint)
    except BackendError as error:
        return _answer(subject, error, works="", remedy=error.hint)
    return _answer(subject, None, works="accepted by the verifier", remedy="")


def _privileges(privileges: Privileges) -> Diagnosis:
    found = ", ".join(sorted(privileges.capabilities)) or "none of CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN"
    ok = not privileges.missing
    return Diagnosis("privileges", ok=ok, found=found, remedy="" if ok else _GRANT, needed=True)


def _seccomp(privileges: Privileges) -> Diagnosis:
    if not privileges.filtered:
        return Diagnosis("seccomp", ok=True, found="no filter")
    blocked = try_program() is not None
    found = "a filter, which may forbid bpf(2)" if blocked else "a filter, which lets bpf(2) through"
    return Diagnosis("seccomp", ok=not blocked, found=found, remedy=SECCOMP_HINT if blocked else "")


def _lockdown(privileges: Privileges) -> Diagnosis:
    ok = privileges.lockdown != "confidentiality"
    remedy = "" if ok else "boot with lockdown=integrity or lockdown=none on the kernel's command line"
    return Diagnosis("lockdown", ok=ok, found=privileges.lockdown or "none", remedy=remedy, needed=True)


def _btf() -> Diagnosis:
    ok = BTF.exists()
    remedy = "" if ok else "use a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    return Diagnosis("BTF", ok=ok, found=str(BTF) if ok else f"no {BTF}", remedy=remedy, needed=True)


def _program() -> Diagnosis:
    error = try_program()
    return _answer("load a program", error, works="loaded", remedy=CAPABILITIES_HINT)


def _uprobe_multi() -> Diagnosis:
    error = try_uprobe_multi()
    remedy = (
        f"kernel 6.6 has it, this is {platform.release()}: uprobe, uretprobe and usdt are attached as perf events, "
        "which needs CAP_SYS_ADMIN and takes the kernel 25-100 ms each to close"
    )
    if error is not None and try_program() is not None:
        remedy = _SEE_ABOVE
    return _answer("uprobe_multi", error, works="supported", remedy=remedy, needed=False)


def _tracefs() -> Diagnosis:
    try:
        with Tracefs() as tracefs:
            tracefs.open()
    except BackendError as error:
        remedy = "sudo mount -t tracefs tracefs /sys/kernel/tracing; rawtracepoint: and syscall: need none"
        return _answer("tracefs", error, works="", remedy=remedy, needed=False)
    return _answer("tracefs", None, works="readable", remedy="", needed=False)


def _kernel_functions() -> Iterator[Diagnosis]:
    if try_program() is not None:
        yield Diagnosis("kernel functions", ok=False, found="unknown", remedy=_SEE_ABOVE)
        return
    tracefs = Tracefs()
    functions, suggestions = KernelFunctions(tracefs), Suggestions()
    for kinds, probes in (
        ("kprobe, kretprobe", KprobeProbes(functions, suggestions)),
        ("fentry, fexit", FentryProbes(functions, suggestions)),
    ):
        refusal = probes.unsupported
        remedy = refusal.reason.hint if refusal else ""
        yield _answer(f"{kinds}", refusal, works="supported", remedy=remedy, needed=False)
    tracefs.close()


def _software() -> Diagnosis:
    page_faults, never = 2, (1 << 63) - 1
    try:
        os.close(open_software(page_faults, never, online_cpus()[0]))
    except KernelError as error:
        return _answer("software", error, works="", remedy=CAPABILITIES_HINT, needed=False)
    return _answer("software", None, works="supported", remedy="")


def _answer(
    subject: str, error: BackendError | None, *, works: str, remedy: str, needed: bool = True
) -> Diagnosis:
    if error is None:
        return Diagnosis(subject, ok=True, found=works, needed=needed)
    return Diagnosis(subject, ok=False, found=error.message, remedy=remedy, needed=needed)
