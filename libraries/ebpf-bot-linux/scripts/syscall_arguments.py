#!/usr/bin/env python3
"""Write the names and types of all syscalls' arguments, as `finding/syscall_arguments.txt` holds them.

    sudo python scripts/syscall_arguments.py > src/ebpf_bot_linux/finding/syscall_arguments.txt

They are read from the formats of the tracepoints `syscalls:sys_enter_*` of the running kernel; take the newest. They are
the same for every machine, and shipped so that a user who may not read tracefs sees names too. Needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import re
import sys

from ebpf_bot_linux.finding.tracefs import Tracefs

_FIELD = re.compile(r"\tfield:(.*?)(\w+);\toffset:(\d+);")
_AHEAD = 16
"""Bytes of the fields that every such tracepoint has: the common ones, and the syscall's number."""
_TYPES = {
    "i4": {"int", "pid_t", "mqd_t", "timer_t", "key_t", "key_serial_t", "clockid_t", "rwf_t", "__s32"},
    "u4": {"unsigned int", "unsigned", "u32", "__u32", "uid_t", "gid_t", "qid_t", "enum landlock_rule_type"},
    "u2": {"umode_t"},
    "i8": {"long", "loff_t", "off_t"},
}


def main() -> None:
    """Write one line a syscall: its name, and NAME:TYPE of each argument."""
    with Tracefs() as tracefs:
        for category, event in tracefs.events("syscalls"):
            if event.startswith("sys_enter_"):
                fields = _FIELD.findall(tracefs.format(category, event))
                arguments = [
                    f"{name}:{_type(kind)}" for kind, name, offset in fields if int(offset) >= _AHEAD
                ]
                sys.stdout.write(" ".join([event.removeprefix("sys_enter_"), *arguments]) + "\n")


def _type(kind: str) -> str:
    plain = kind.strip().removeprefix("const ")
    return next((code for code, names in _TYPES.items() if plain in names), "u8")


if __name__ == "__main__":
    main()
