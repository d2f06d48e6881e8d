"""Which names of things in a binary the name of a probe can hold."""

from __future__ import annotations

from ebpf_bot_core import PatternError, ProbeKind, ProbePattern

__all__ = ["can_spell"]


def can_spell(kind: ProbeKind, name: str) -> bool:
    """Whether `kind:PATH:name` is read back as the `name` of that path; a colon in it would end the path."""
    try:
        return ProbePattern.parse(f"{kind}:x:{name}") == ProbePattern(kind, "x", name)
    except PatternError:
        return False
