"""Probe names and patterns, in bpftrace's syntax, and the table that numbers them."""

from __future__ import annotations

import enum
import fnmatch
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final, overload

import attrs
import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core.errors import PatternError
from ebpf_bot_core.nearest import did_you_mean

__all__ = ["ProbeKind", "ProbePattern", "ProbeTable"]

_WILDCARD: Final = re.compile(r"[*?\[]")
_MAX_LENGTH: Final = 8192
"""Longer than any path and mangled name that Linux tools produce; a bound, since plans may be hostile."""


class ProbeKind(enum.StrEnum):
    """The kinds of attach point; each value is the word that a probe name begins with."""

    UPROBE = "uprobe"
    URETPROBE = "uretprobe"
    USDT = "usdt"
    TRACEPOINT = "tracepoint"
    RAWTRACEPOINT = "rawtracepoint"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"
    FENTRY = "fentry"
    FEXIT = "fexit"
    SOFTWARE = "software"
    SYSCALL = "syscall"

    @property
    def form(self) -> str:
        """The shape of such a name, as shown in errors and help."""
        return _FORMS[self]

    @property
    def in_binary(self) -> bool:
        """Whether the probe lies in a file, so that its target is a path."""
        return self in _IN_BINARY


_FORMS: Final = {
    ProbeKind.UPROBE: "uprobe:BINARY:FUNCTION",
    ProbeKind.URETPROBE: "uretprobe:BINARY:FUNCTION",
    ProbeKind.USDT: "usdt:BINARY:PROVIDER:NAME",
    ProbeKind.TRACEPOINT: "tracepoint:CATEGORY:NAME",
    ProbeKind.RAWTRACEPOINT: "rawtracepoint:NAME",
    ProbeKind.KPROBE: "kprobe:FUNCTION",
    ProbeKind.KRETPROBE: "kretprobe:FUNCTION",
    ProbeKind.FENTRY: "fentry:FUNCTION",
    ProbeKind.FEXIT: "fexit:FUNCTION",
    ProbeKind.SOFTWARE: "software:EVENT:COUNT",
    ProbeKind.SYSCALL: "syscall:NAME",
}
_IN_BINARY: Final = frozenset({ProbeKind.UPROBE, ProbeKind.URETPROBE, ProbeKind.USDT})
_USUAL: Final = re.compile(r"(uprobe|uretprobe):([ -Z\\\]-~]+):([A-Za-z_*?][\w.$@*?]*)", re.ASCII)
"""Patterns that need no closer look: ASCII without a bracket, and a name that can be no address. Plans name a million."""
_OF_WORD: Final = {kind.value: kind for kind in ProbeKind}


@attrs.frozen
class ProbePattern:
    """A probe name taken apart; with a wildcard (`*`, `?`, `[..]`) in it, a pattern for many.

    Attributes:
        kind: what kind of attach point.
        target: the binary's path, bare name or wildcard; the tracepoint's category; else empty.
        name: the function, event or syscall; for USDT `PROVIDER:NAME`; for software events `EVENT:COUNT`.
    """

    kind: ProbeKind
    target: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ProbePattern:
        """Read one name or pattern.

        The target is split off from the right, so that a path may contain colons.

        Raises:
            PatternError: naming the text, the form it should have, and the nearest known kind.
        """
        usual = _USUAL.fullmatch(text) if len(text) <= _MAX_LENGTH else None
        if usual is not None:
            return cls(_OF_WORD[usual[1]], sys.intern(usual[2]), usual[3])
        shown = text if len(text) <= 120 else text[:117] + "..."  # noqa: PLR2004 - one terminal line
        if len(text) > _MAX_LENGTH or not text.isprintable():
            raise PatternError(
                f"malformed probe pattern {shown!r}",
                hint=f"a pattern is one line of at most {_MAX_LENGTH} printable characters",
            )
        word, colon, rest = text.partition(":")
        try:
            kind = ProbeKind(word)
        except ValueError:
            guess = did_you_mean(word, [k.value for k in ProbeKind])
            hint = f"{guess}; known kinds: " if guess else "known kinds: "
            raise PatternError(
                f"malformed probe pattern {shown!r}: unknown kind {word[:40]!r}",
                hint=hint + ", ".join(k.value for k in ProbeKind),
            ) from None
        target, name = _split(kind, rest)
        needs_target = kind.in_binary or kind is ProbeKind.TRACEPOINT
        if not colon or not name or (needs_target and not target) or not _sets_close(target, name):
            raise PatternError(
                f"malformed probe pattern {shown!r}",
                hint=f"write {kind.form}; *, ? and [..] match many",
            )
        if kind.in_binary and re.search(r"\+(0x)?[0-9a-fA-F]+$|^0x[0-9a-fA-F]+$", name):
            raise PatternError(
                f"malformed probe pattern {shown!r}: a bare address or offset cannot be probed",
                hint="an offset that no symbol gives could corrupt the target; name the function",
            )
        return cls(kind, target, name)

    def __str__(self) -> str:
        parts = (self.kind.value, self.target, self.name) if self.target else (self.kind.value, self.name)
        return ":".join(parts)

    @property
    def is_exact(self) -> bool:
        """Whether this names one probe, without a wildcard."""
        return not _WILDCARD.search(self.target + self.name)

    @property
    def target_is_exact(self) -> bool:
        """Whether the target is written without a wildcard."""
        return not _WILDCARD.search(self.target)

    def match_names(self, names: Sequence[str]) -> list[int]:
        """Return the positions of those `names` (functions, events) that the name part matches.

        A name that is written exactly so matches too: compilers give functions names with brackets in them
        (`slices.Sort[...]`), and what was found must be found again by its own name.
        """
        if not _WILDCARD.search(self.name):
            return [i for i, name in enumerate(names) if name == self.name]
        if self.name == "*":
            return list(range(len(names)))
        match = re.compile(fnmatch.translate(self.name)).match
        return [i for i, name in enumerate(names) if name == self.name or match(name)]


def _split(kind: ProbeKind, rest: str) -> tuple[str, str]:
    if kind in (ProbeKind.UPROBE, ProbeKind.URETPROBE, ProbeKind.TRACEPOINT):
        target, _, name = rest.rpartition(":")
        return target, name
    if kind is ProbeKind.USDT:
        target, _, name = rest.rpartition(":")
        target, _, provider = target.rpartition(":")
        return target, f"{provider}:{name}" if provider and name else ""
    return "", rest


def _sets_close(*parts: str) -> bool:
    """Whether each `[` begins a set that ends, by the rules of fnmatch: `[]]` and `[!]]` hold a `]`, `[[]` a `[`."""
    # Most have no bracket at all, and plans name a million.
    return not any("[" in part and "[" in re.sub(r"\[!?+.[^]]*\]", "", part) for part in parts)


@attrs.frozen(eq=False)
class ProbeTable(Sequence[str]):
    """The probes of a run, numbered: batches, evidence and decisions refer to them by index.

    Attributes:
        names: the canonical names, each once.
    """

    names: tuple[str, ...]

    def __attrs_post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError("a probe stands in the table twice")

    @cached_property
    def _index(self) -> dict[str, int]:
        """Made when it is first needed: of a million probes it takes 100 MiB, and most runs go by numbers alone."""
        return {name: i for i, name in enumerate(self.names)}

    @classmethod
    def of(cls, names: Iterable[str]) -> ProbeTable:
        """Return a table of these names in their order, each once."""
        return cls(tuple(dict.fromkeys(names)))

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self.names[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def position(self, name: str) -> int:
        """Return the index of `name`; KeyError if it is not in the table."""
        return self._index[name]

    def positions(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return the index of each of `names`, shape (len(names),); KeyError if one is not in the table."""
        if names is self.names:
            return np.arange(len(names))
        index = self._index
        return np.fromiter((index[name] for name in names), np.intp, len(names))
