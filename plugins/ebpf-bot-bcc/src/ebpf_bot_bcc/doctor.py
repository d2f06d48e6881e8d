"""What of this backend works on this host, for `ebpf-bot doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from ebpf_bot_linux import diagnose_programs

from ebpf_bot_bcc.bcc_module import find_bcc, other_bcc
from ebpf_bot_bcc.compiling import Compiler
from ebpf_bot_bcc.loading import BccLoader
from ebpf_bot_core import BackendError, Diagnosis

__all__ = ["diagnose"]


def diagnose() -> Iterator[Diagnosis]:
    """Yield what was looked at, the causes before what fails for them; what is asked of the kernel `libbpf` says."""
    try:
        found = find_bcc()
    except BackendError as error:
        yield Diagnosis(
            "bcc: module", ok=False, found=error.message.removeprefix("backend 'bcc': "), remedy=error.hint
        )
        return
    other = other_bcc()
    and_another = f"; {other} is another project of that name, and not used" if other else ""
    yield Diagnosis("bcc: module", ok=True, found=f"{found}/bcc{and_another}")
    compiler = Compiler()
    try:
        used = compiler.headers()
    except BackendError as error:
        yield Diagnosis(
            "bcc: headers", ok=False, found=error.message.removeprefix("backend 'bcc': "), remedy=error.hint
        )
        return
    yield Diagnosis(
        "bcc: headers", ok=True, found="made of the kernel's BTF" if used.made else "this kernel's own"
    )
    yield diagnose_programs(BccLoader(compiler), "bcc")
