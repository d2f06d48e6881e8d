"""What the benchmark ran on, without a name, an address or a date."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

__all__ = ["describe"]


def describe() -> dict[str, str]:
    """Return what decides the figures."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    memory = re.search(r"^MemTotal: +(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE)
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cpus": str(os.cpu_count()),
        "virtual": "yes" if " hypervisor" in flags else "no",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }
