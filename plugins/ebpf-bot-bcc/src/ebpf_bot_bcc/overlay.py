"""A folder of headers for one source, where headers are made of the kernel's BTF: what those cannot know.

It has an empty header for each that the source includes, since all types are there already; and other names for those of
the kernel's types that the source defines itself, since headers of the kernel would not have brought them unasked.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["AFTER", "BEFORE", "missing_headers", "overlay", "own_types"]

BEFORE: Final = "ebpf_bot_before.h"
"""Included right before the kernel's types; `AFTER` right behind them."""
AFTER: Final = "ebpf_bot_after.h"

_INCLUDE: Final = re.compile(r"^[ \t]*#[ \t]*include[ \t]*[<\"]([\w./-]+)[>\"]", re.MULTILINE)
_COMMENT: Final = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_TAG: Final = re.compile(r"\b(?:struct|union|enum)\s+(\w+)\s*\{")
_NAMED: Final = re.compile(r"\btypedef\s+(?:struct|union|enum)\b[^{;]*\{[^{}]*\}\s*(\w+)\s*;")


def overlay(text: str, made: Path, folder: Path) -> Path:
    """Write the folder for a source below another, and return it.

    Args:
        made: the headers that are made of BTF.

    Raises:
        OSError: one of the headers cannot be written.
    """
    include = folder / "include"
    include.mkdir()
    for name in sorted(missing_headers(text, made)):
        header = include / name
        header.parent.mkdir(parents=True, exist_ok=True)
        header.touch()
    names = sorted(own_types(text, (made / "include" / "vmlinux.h").read_text(encoding="utf-8")))
    (include / BEFORE).write_text("".join(f"#define {name} kernel_{name}\n" for name in names))
    (include / AFTER).write_text("".join(f"#undef {name}\n" for name in names))
    return include


def missing_headers(text: str, made: Path) -> set[str]:
    """Return what a source includes that neither the made headers nor BCC itself have."""
    named = set(_INCLUDE.findall(text))
    return {
        name
        for name in named
        if not name.startswith(("bcc/", "/")) and ".." not in name and not (made / "include" / name).exists()
    }


def own_types(text: str, kernel: str) -> set[str]:
    """Return the types that a source defines and the kernel's header defines as well: such as `event`, or `key_t`."""
    source = _COMMENT.sub(" ", text)
    defined = {*_TAG.findall(source), *_NAMED.findall(source)}
    return {
        name
        for name in defined
        if re.search(
            rf"^(?:struct|union|enum) {name} \{{|^typedef [^\n]*\b{name};|^\}} {name};", kernel, re.MULTILINE
        )
    }
