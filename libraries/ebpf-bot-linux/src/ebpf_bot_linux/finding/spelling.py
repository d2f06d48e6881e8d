"""The names of probes in binaries: which names they can hold, and taking them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from ebpf_bot_core import PatternError, ProbeKind, ProbePattern

__all__ = ["NamesWithin", "at_path", "can_spell", "taken_apart"]


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


class NamesWithin(Sequence[str]):
    """What some probes are called in their binaries; taken apart when one is looked at, since a million take 80 MiB.

    Args:
        probes: their whole names.
        numbers: which of them.
    """

    def __init__(self, probes: Sequence[str], numbers: Sequence[int]) -> None:
        self._probes = probes
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return NamesWithin(self._probes, self._numbers[index])
        return taken_apart(self._probes[self._numbers[index]])[2]

    def __iter__(self) -> Iterator[str]:
        probes = self._probes
        return (taken_apart(probes[number])[2] for number in self._numbers)
