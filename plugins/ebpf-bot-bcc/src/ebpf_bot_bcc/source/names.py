"""Where BCC would attach a function by its name: the prefixes that its macros and its Python know."""

from __future__ import annotations

import platform
import re
from typing import Final

__all__ = ["probe_of"]

_PREFIXES: Final = (
    ("raw_tracepoint__", "rawtracepoint:"),  # RAW_TRACEPOINT_PROBE(event)
    ("tracepoint__", "tracepoint:"),  # TRACEPOINT_PROBE(category, event)
    ("kretprobe__", "kretprobe:"),
    ("kprobe__", "kprobe:"),
    ("kretfunc__vmlinux__", "fexit:"),  # KRETFUNC_PROBE(event, ...)
    ("kfunc__vmlinux__", "fentry:"),  # KFUNC_PROBE(event, ...)
    ("kretfunc__", "fexit:"),  # likewise before BCC 0.27
    ("kfunc__", "fentry:"),
)
_OF_FUNCTIONS: Final = ("kprobe:", "kretprobe:", "fentry:", "fexit:")
_SYSCALL: Final = re.compile(r"(?:sys|__x64_sys|__ia32_compat_sys|__x32_compat_sys|__arm64_sys)_(\w+)")
"""However the author's kernel called the function of a syscall."""
_HERE: Final = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_"}


def probe_of(function: str) -> str:
    """Return the probe that a function's name asks for; empty where it asks for none."""
    for prefix, kind in _PREFIXES:
        if function.startswith(prefix):
            rest = function.removeprefix(prefix)
            if kind == "tracepoint:":
                return kind + rest.replace("__", ":", 1)
            return kind + (_of_this_machine(rest) if kind in _OF_FUNCTIONS else rest)
    return ""


def _of_this_machine(function: str) -> str:
    """Return what the function of a syscall is called here; other functions keep their names."""
    syscall = _SYSCALL.fullmatch(function)
    return f"{_HERE[platform.machine()]}{syscall[1]}" if syscall and platform.machine() in _HERE else function
