"""The names of probes in binaries: which names they can hold, and taking them apart."""

from __future__ import annotations

from ebpf_bot_core import PatternError, ProbeKind, ProbePattern

__all__ = ["at_path", "can_spell", "taken_apart"]


def can_spell(kind: ProbeKind, name: str) -> bool:
    """Whether `kind:PATH:name` is read back as the `name` of that path; a colon in it would end the path."""
    try:
        return ProbePattern.parse(f"{kind}:x:{name}") == ProbePattern(kind, "x", name)
    except PatternError:
        return False


def taken_apart(name: str) -> tuple[str, str, str]:
    """Return kind, path and name in it of a probe, as `ProbePattern.parse` takes them apart, which is slow."""
    kind, _, rest = name.partition(":")
    path, _, within = rest.rpartition(":")
    if kind == ProbeKind.USDT:
        path, _, provider = path.rpartition(":")
        within = f"{provider}:{within}"
    return kind, path, within


def at_path(name: str, path: str) -> str:
    """Return what a probe in a binary is called in another file."""
    kind, _, within = taken_apart(name)
    return f"{kind}:{path}:{within}"
