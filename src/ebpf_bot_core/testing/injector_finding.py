"""What every injector must find, and what it must survive finding."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from ebpf_bot_core.probe import ProbePattern, ProbeTable
from ebpf_bot_core.stages import ProbeInjector, SignalReceiver
from ebpf_bot_core.testing.injector_host import InjectorHost
from ebpf_bot_core.verdicts import Reason, Verdict

__all__ = ["HOSTILE_PATTERNS", "FindingTests"]

HOSTILE_PATTERNS: Final = (
    "uprobe:/dev/zero:*",
    "uprobe:/dev/null:main*",
    "uprobe:/proc/self/mem:*",
    "uprobe:/:*",
    "uprobe:/../../../../../../../../etc/passwd:*",
    "uprobe:/" + "a" * 4000 + ":*",
    "uprobe:/" + "a/" * 2000 + "b:*",
    "uprobe:$(reboot):`reboot`*",
    "uprobe:;reboot;:%s%n*",
    "uprobe:-rf:--help*",
    "uprobe:/[z-a]*:[!]]*[z-a]",
    "uretprobe:/dev/zero:" + "*a" * 500,
    "usdt:/dev/zero:*:*",
    "tracepoint:../..:*",
    "tracepoint:*/../..:enable*",
    "rawtracepoint:../*",
    "syscall:" + "?*" * 500 + "!",
)
"""Patterns that parse, and that a plan from somewhere else may hold. None of them matches anything."""


class FindingTests(InjectorHost):
    """Promises of `ProbeInjector.find`."""

    def test_the_stages_have_the_methods_of_their_protocols(
        self, injector: ProbeInjector, receiver: SignalReceiver
    ) -> None:
        """They can be used wherever the protocols are asked for, and say the modes they serve."""
        assert isinstance(injector, ProbeInjector)
        assert isinstance(receiver, SignalReceiver)
        assert injector.modes == self.modes

    def test_find_gives_canonical_names(self, injector: ProbeInjector) -> None:
        """Each row is one probe, once, whose name reads back as itself; what cannot fire has a reason."""
        found = injector.find([ProbePattern.parse(text) for text in [*self.patterns(), *self.patterns()]])
        assert len(set(found.probes)) == len(found.probes) > 0
        for row in found:
            assert str(ProbePattern.parse(row.probe)) == row.probe
            assert row.verdict not in (Verdict.SILENT, Verdict.FIRED), "find attaches nothing"
            assert row.verdict is Verdict.PENDING or row.reason is not Reason.NONE

    def test_find_finds_its_own_names(self, injector: ProbeInjector, probes: ProbeTable) -> None:
        """A name that find gave, asked for alone, is that probe."""
        for name in probes:
            found = injector.find([ProbePattern.parse(name)])
            assert [(row.probe, row.verdict) for row in found] == [(name, Verdict.PENDING)]

    def test_find_gives_one_missing_row_to_a_pattern_that_matches_nothing(
        self, injector: ProbeInjector
    ) -> None:
        """The row has the pattern's own text, and says why."""
        for text in self.absent():
            (row,) = injector.find([ProbePattern.parse(text)])
            assert (row.probe, row.verdict) == (text, Verdict.MISSING)
            assert row.reason is not Reason.NONE

    def test_find_answers_hostile_patterns_with_rows(
        self, injector: ProbeInjector, probes: ProbeTable
    ) -> None:
        """No pattern raises, none is said to be there, and none hides the good ones beside it."""
        hostile = [ProbePattern.parse(text) for text in HOSTILE_PATTERNS]
        for pattern in hostile:
            (row,) = injector.find([pattern])
            assert row.probe == str(pattern)
            assert row.verdict is not Verdict.PENDING
            assert row.reason is not Reason.NONE
        together = injector.find([*hostile, *(ProbePattern.parse(name) for name in probes)])
        assert {row.probe for row in together if row.verdict is Verdict.PENDING} == set(probes)

    def test_find_answers_broken_files_with_rows(self, injector: ProbeInjector, tmp_path: Path) -> None:
        """A file that is no program, or was made to look like one, is a row with a reason."""
        for path in _broken_files(tmp_path):
            (row,) = injector.find([ProbePattern.parse(f"uprobe:{path}:*")])
            assert row.probe == f"uprobe:{path}:*"
            assert row.verdict in (Verdict.MISSING, Verdict.REFUSED, Verdict.EXCLUDED)
            assert row.reason is not Reason.NONE


def _broken_files(folder: Path) -> list[Path]:
    program = Path(sys.executable).resolve().read_bytes()[:4096]
    contents = {
        "empty": b"",
        "script": b"#!/bin/sh\nexit 0\n",
        "cut": program[:40],
        "headless": program,
        "lies": program[:16] + b"\xff" * 4080,
        "zeros": program[:16] + b"\0" * 4080,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "fifo")
    return sorted(folder.iterdir())
