"""Which function of a source serves which probe."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import numpy as np

from ebpf_bot_bcc.source.names import probe_of
from ebpf_bot_core import Evidence, PlanError, ProbeEvidence, ProbeKind, ProbePattern, Reason, Verdict

__all__ = ["Attachments", "requested"]

_log = logging.getLogger(__name__)

Find = Callable[[Sequence[ProbePattern]], Evidence]


def requested(
    functions: Iterable[str], attach: Mapping[str, Sequence[str]], source: str
) -> dict[str, tuple[ProbePattern, ...]]:
    """Return the patterns of each function: those that a plan gives it, else what its name asks for.

    Args:
        functions: of the source.
        attach: what the plan gives.
        source: its name, for messages.

    Raises:
        PlanError: the plan names a function that is not there, or no function is attached to anything.
        PatternError: one of the patterns cannot be read.
    """
    known = list(functions)
    for name in attach:
        if name not in known:
            raise PlanError(
                f"backend 'bcc': {source} has no function {name!r}",
                hint=f"its functions: {', '.join(known) or 'none'}; static ones are no programs",
            )
    patterns = {name: attach.get(name, tuple(filter(None, [probe_of(name)]))) for name in known}
    for name, given in patterns.items():
        if not given and name not in attach:
            _log.warning(
                "%s: %s is attached to nothing; give it a probe: attach = { %s = ... }", source, name, name
            )
    if not any(patterns.values()):
        raise PlanError(
            f"backend 'bcc': nothing of {source} is attached to anything",
            hint="give its functions probes: attach = { my_function = 'uprobe:/bin/x:f' }",
        )
    parsed = {name: tuple(map(ProbePattern.parse, given)) for name, given in patterns.items()}
    for name, patterns_of in parsed.items():
        if any(pattern.kind is ProbeKind.SYSCALL for pattern in patterns_of):
            raise PlanError(
                f"backend 'bcc': {name} of {source} cannot be attached to a syscall: probe",
                hint="attach it to tracepoint:syscalls:sys_enter_NAME, or to rawtracepoint:sys_enter",
            )
    return parsed


@attrs.frozen
class Attachments:
    """The probes of a source.

    Attributes:
        source: its name.
        found: what is known of them.
        function_of: {probe: the function that serves it}.
    """

    source: str
    found: Evidence
    function_of: Mapping[str, str]

    @classmethod
    def of(cls, source: str, wanted: Mapping[str, Sequence[ProbePattern]], find: Find) -> Attachments:
        """Find the probes of all functions; PlanError if two of them want the same one."""
        function_of: dict[str, str] = {}
        found = Evidence.stating(())
        for function, patterns in wanted.items():
            if not patterns:
                continue
            mine = find(patterns)
            for probe in mine.probes:
                other = function_of.setdefault(probe, function)
                if other != function:
                    raise PlanError(
                        f"backend 'bcc': {other} and {function} of {source} are both attached to {probe}",
                        hint="a probe is served by one function: narrow the patterns of `attach`",
                    )
            found = found.join(mine)
        return cls(source, found, function_of)

    def matching(self, patterns: Sequence[ProbePattern], find: Find) -> Evidence:
        """Return those of the probes that patterns name, as `ProbeInjector.find` has it."""
        chosen: dict[str, None] = {}
        unserved: list[tuple[str, Verdict, Reason, str]] = []
        for pattern in patterns:
            if pattern.is_exact:
                here = find([pattern])
                chosen |= dict.fromkeys(name for name in here.probes if name in self.function_of)
                unserved += [_unserved(row, self.source) for row in here if row.probe not in self.function_of]
            else:
                names = self._served(pattern, find)
                chosen |= dict.fromkeys(names)
                if not names:
                    detail = f"no function of {self.source} serves such a probe"
                    unserved.append((str(pattern), Verdict.REFUSED, Reason.NO_BACKEND, detail))
        rows = self.found.probes.positions(list(chosen))
        return self.found.take(np.asarray(rows, np.intp)).join(Evidence.stating(unserved))

    def _served(self, pattern: ProbePattern, find: Find) -> list[str]:
        """Return those of the probes that a wildcard stands for."""
        in_one_file = pattern.kind.in_binary and pattern.target_is_exact
        among = set(find([pattern]).probes) if in_one_file else None
        return [
            name
            for name in self.function_of
            if (name in among if among is not None else _matches(ProbePattern.parse(name), pattern))
        ]


def _unserved(row: ProbeEvidence, source: str) -> tuple[str, Verdict, Reason, str]:
    """Say why a probe is none of the source's: it may not be on this host at all."""
    if row.verdict is not Verdict.PENDING:
        return row.probe, row.verdict, row.reason, row.detail
    detail = f"{source} has no function for it; the option `attach` gives it one"
    return row.probe, Verdict.REFUSED, Reason.NO_BACKEND, detail


def _matches(probe: ProbePattern, pattern: ProbePattern) -> bool:
    target = pattern.target or "*"
    if probe.kind.in_binary and "/" not in target:
        target = f"*/{target}*"  # as a bare name is found: with the ending of a library, too
    return (
        probe.kind is pattern.kind
        and fnmatch.fnmatchcase(probe.name, pattern.name)
        and fnmatch.fnmatchcase(probe.target, target)
    )
