"""uprobe and uretprobe: the functions of binaries."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ebpf_bot_core import Evidence, ProbeKind, ProbePattern, ProbeTable, Reason, Verdict
from ebpf_bot_libbpf.binaries import Binaries, Examined
from ebpf_bot_libbpf.function_table import FunctionTable, Standing
from ebpf_bot_libbpf.points import FunctionPoint
from ebpf_bot_libbpf.refusals import UnprobeableError, row, union
from ebpf_bot_libbpf.suggestions import Suggestions
from ebpf_bot_libbpf.targets import Targets, has_wildcard

__all__ = ["FunctionProbes"]

_MEANING: Final = {
    Standing.DATA: (
        Verdict.EXCLUDED,
        Reason.DATA_SYMBOL,
        "a symbol of data; no code is there that could run",
    ),
    Standing.IMPORT: (
        Verdict.EXCLUDED,
        Reason.IMPORTED,
        "imported here; its code is in another library, where it can be probed",
    ),
    Standing.ASTRAY: (
        Verdict.REFUSED,
        Reason.MALFORMED_ELF,
        "its address lies outside the executable parts of the file",
    ),
    Standing.BLIND: (
        Verdict.BLIND,
        Reason.UNSUPPORTED_INSTRUCTION,
        (
            "the kernel refuses uprobes on its first instruction, which has a LOCK or segment prefix or is a "
            "breakpoint; while no process maps the file it would accept the probe, and it would never fire"
        ),
    ),
    Standing.FUNCTION: (Verdict.PENDING, Reason.NOT_EXAMINED, ""),
    Standing.RESOLVER: (
        Verdict.PENDING,
        Reason.NOT_EXAMINED,
        "an indirect function (GNU_IFUNC): what is probed is its resolver, which runs when the file is linked",
    ),
}
_VERDICT: Final = np.array([_MEANING[standing][0] for standing in Standing], np.uint8)
_REASON: Final = np.array([_MEANING[standing][1] for standing in Standing], np.uint8)
_DETAIL: Final = [_MEANING[standing][2] for standing in Standing]


class FunctionProbes:
    """Finds functions in binaries, for uprobes and uretprobes alike."""

    def __init__(self, binaries: Binaries, targets: Targets, suggestions: Suggestions) -> None:
        self._suggestions = suggestions
        self._binaries = binaries
        self._targets = targets
        self._by_path: dict[str, Examined] = {}

    def find(self, pattern: ProbePattern) -> Evidence:
        """Return the rows of one pattern; see `Finder.find`."""
        try:
            paths = self._targets.paths(pattern.target)
        except UnprobeableError as error:
            return error.row(str(pattern))
        several = has_wildcard(pattern.target) and paths != [pattern.target]
        parts = [self._in_file(pattern, path, several=several) for path in paths]
        found = [part for part in parts if len(part)]
        if found:
            return union(found)
        if not paths:
            detail = f"no file matches {pattern.target}"
            return row(str(pattern), Verdict.MISSING, Reason.BINARY_MISSING, detail)
        detail = (
            f"none of the {len(paths)} files that match {pattern.target} is a binary with such a function"
        )
        return row(str(pattern), Verdict.MISSING, Reason.NOT_FOUND, detail)

    def point(self, name: str) -> FunctionPoint:
        """Return where the probe `name` is placed, examining its binary if no pattern has yet.

        Raises:
            UnprobeableError: the binary or the function is not there, or cannot be probed.
        """
        place, _, function = name.rpartition(":")
        kind, _, path = place.partition(":")
        if not path.startswith("/"):
            detail = f"{name} is a pattern, not the name of a probe"
            raise UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, detail)
        examined = self._by_path.get(path) or self._examine(path)
        offsets = examined.functions.offsets_of(function)
        if not offsets:
            detail = f"{path} has no function {function} that can be probed"
            raise UnprobeableError(Verdict.MISSING, Reason.NOT_FOUND, detail)
        return FunctionPoint(examined.binary, offsets, on_return=kind == ProbeKind.URETPROBE)

    def _examine(self, path: str) -> Examined:
        examined = self._binaries.examine(path)
        self._by_path[examined.binary.path] = examined
        return examined

    def _in_file(self, pattern: ProbePattern, path: str, *, several: bool) -> Evidence:
        """Return the rows of one file.

        Args:
            several: the target is a wildcard. It names what it can, so files that are no binaries, and binaries
                without such a function, have no rows; a binary that cannot be examined has one under its own path.
        """
        text = f"{pattern.kind}:{path}:{pattern.name}" if several else str(pattern)
        try:
            examined = self._examine(path)
        except UnprobeableError as error:
            if several and error.reason in (Reason.NOT_ELF, Reason.BINARY_MISSING):
                return union([])
            return error.row(text)
        found = _matching(pattern, examined.functions)
        parts = [_rows(f"{pattern.kind}:{examined.binary.path}:", examined.functions, found)]
        parts += _remarks(pattern, text, examined)
        if not several and not any(map(len, parts)):
            parts.append(self._not_found(pattern, text, examined))
        return union(parts)

    def _not_found(self, pattern: ProbePattern, text: str, examined: Examined) -> Evidence:
        functions, path = examined.functions, examined.binary.path
        if has_wildcard(pattern.name):
            detail = f"none of the {functions.count} functions of {path} matches {pattern.name}"
        else:
            near = self._suggestions.near(pattern.name, functions.names)
            detail = f"{path} has no function {pattern.name}{near}"
        return row(text, Verdict.MISSING, Reason.NOT_FOUND, detail)


def _matching(pattern: ProbePattern, functions: FunctionTable) -> NDArray[np.intp]:
    """Return the rows of the names that a pattern means.

    A name that exists is meant literally: Go has functions called `main.(*Server).Close`.
    """
    if pattern.name in functions and pattern.name != "*":
        return np.array([functions.row(pattern.name)])
    if not has_wildcard(pattern.name):
        return np.zeros(0, np.intp)
    return np.array(pattern.match_names(functions.names), np.intp)


def _rows(prefix: str, functions: FunctionTable, found: NDArray[np.intp]) -> Evidence:
    names = functions.names
    evidence = Evidence.pending(ProbeTable(tuple(prefix + names[i] for i in found.tolist())))
    standing = functions.standing[found]
    evidence.columns["verdict"] = _VERDICT[standing]
    evidence.columns["reason"] = _REASON[standing]
    for i in np.flatnonzero(standing != Standing.FUNCTION).tolist():
        evidence.details[i] = _DETAIL[standing[i]]
    return evidence


def _remarks(pattern: ProbePattern, text: str, examined: Examined) -> list[Evidence]:
    """Return a row under the pattern's text where it may mean functions that cannot be told."""
    functions, path = examined.functions, examined.binary.path
    if not functions.count and pattern.name not in functions:
        debug = f"; a debug file would be {examined.debug_path}" if examined.debug_path else ""
        detail = f"{path} has no symbol of a function of its own{debug}"
        return [row(text, Verdict.REFUSED, Reason.NO_SYMBOLS, detail)]
    if functions.unnameable and pattern.name == "*":
        detail = f"{functions.unnameable} functions of {path} have names that no probe name can spell"
        return [row(text, Verdict.EXCLUDED, Reason.NOT_FOUND, detail)]
    return []
