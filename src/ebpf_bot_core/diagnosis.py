"""Diagnosis: one thing that was looked at on this host, as `ebpf-bot doctor` shows it."""

from __future__ import annotations

import attrs

__all__ = ["Diagnosis"]


@attrs.frozen
class Diagnosis:
    """One finding.

    Attributes:
        subject: what was looked at, such as `BTF` or `libbpf: uprobe_multi`.
        ok: whether it works here.
        found: what was seen, in a few words.
        remedy: the command, or the words, that mend it; empty where all is well or nothing can be done.
        needed: whether the default backend cannot work without it.
    """

    subject: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = False
