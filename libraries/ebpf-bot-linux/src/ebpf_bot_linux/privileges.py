"""What this process may ask of the kernel, and what stands in its way."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, Self

import attrs

from ebpf_bot_linux.unseen import open_unseen

__all__ = ["CAPABILITIES_HINT", "Privileges"]

_CAPABILITIES: Final = {21: "CAP_SYS_ADMIN", 38: "CAP_PERFMON", 39: "CAP_BPF"}
"""linux/capability.h; CAP_SYS_ADMIN stands for both of the others, which are new in kernel 5.8."""
_NEEDED: Final = ("CAP_BPF", "CAP_PERFMON")
_SECCOMP_FILTER: Final = 2

CAPABILITIES_HINT: Final = (
    "run as root or with CAP_BPF and CAP_PERFMON (setpriv, capsh, systemd's AmbientCapabilities); "
    "`ebpf-bot doctor` shows what is missing, --backend simulated needs no privileges"
)


@attrs.frozen
class Privileges:
    """What /proc and securityfs say of this process.

    Attributes:
        capabilities: those of `_CAPABILITIES` that are effective.
        filtered: whether a seccomp filter, as containers have, may forbid bpf(2).
        lockdown: `none`, `integrity` or `confidentiality`; empty where the kernel has no lockdown or does not tell.
    """

    capabilities: frozenset[str]
    filtered: bool
    lockdown: str

    @classmethod
    def here(cls) -> Self:
        """Return those of this process."""
        status = _read("/proc/self/status")
        effective = int(_field(status, "CapEff") or "0", 16)
        return cls(
            frozenset(name for bit, name in _CAPABILITIES.items() if effective >> bit & 1),
            int(_field(status, "Seccomp") or "0") == _SECCOMP_FILTER,
            "".join(re.findall(r"\[(\w+)\]", _read("/sys/kernel/security/lockdown") or _read_unseen())),
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """The capabilities that are needed and not there."""
        if "CAP_SYS_ADMIN" in self.capabilities:
            return ()
        return tuple(name for name in _NEEDED if name not in self.capabilities)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _read_unseen() -> str:
    """Read the same where securityfs is not mounted; CAP_SYS_ADMIN."""
    root = -1
    try:
        root = open_unseen("securityfs")
        with open(os.open("lockdown", os.O_RDONLY, dir_fd=root), encoding="ascii") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""
    finally:
        if root >= 0:
            os.close(root)


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(\S+)", status, re.MULTILINE)
    return found[1] if found else ""
