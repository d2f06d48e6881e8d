#!/usr/bin/env python3
"""Write a table of syscalls, as `src/ebpf_bot_linux/finding/syscalls_MACHINE.txt` holds them, to standard output.

    python scripts/syscall_table.py HEADER > src/ebpf_bot_linux/finding/syscalls_MACHINE.txt

HEADER is the kernel's `asm/unistd_64.h`, which since Linux 6.11 exists for every 64-bit architecture; Debian's package
`linux-libc-dev` has all of them as `/usr/lib/linux/uapi/{x86,arm64}/asm/unistd_64.h`. Take the newest: numbers never
change, and a syscall that the running kernel does not know is still seen when somebody tries it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_DEFINITION = re.compile(r"^#define\s+__NR_(\w+)\s+(\d+)$", re.MULTILINE)


def table(header: str) -> str:
    """Return one line `NUMBER NAME` for each syscall, in the order of their numbers."""
    numbers = sorted((int(number), name) for name, number in _DEFINITION.findall(header))
    return "".join(f"{number} {name}\n" for number, name in numbers)


if __name__ == "__main__":
    sys.stdout.write(table(Path(sys.argv[1]).read_text(encoding="ascii")))
