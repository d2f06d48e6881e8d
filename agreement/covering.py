"""Running a workload under ebpf-bot, which counts every call of every function of one binary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

__all__ = ["Coverage", "cover"]


@attrs.frozen
class Coverage:
    """What ebpf-bot says.

    Attributes:
        hits: symbol -> how often it was entered.
        verdicts: symbol -> verdict and reason, as in the JSON document.
        lost: hits that the kernel left out.
    """

    hits: Mapping[str, int]
    verdicts: Mapping[str, str]
    lost: int


def cover(
    binary: Path, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> Coverage:
    """Run a command in a folder and count the calls within one binary, in all processes that descend from it.

    Raises:
        SystemExit: ebpf-bot cannot do it here; with what it said.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ebpf_bot_core", "run", "--backend", "libbpf", "--store", "memory"),
            *("--json", "--keep", "--expect", f"uprobe:{binary}:*", "--", *command),
        ],
        cwd=folder,
        env={**os.environ, "ENABLE_OTLP": "false", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=540,
        check=False,
    )
    if done.returncode:
        raise SystemExit(
            f"the workload of {binary} ended with status {done.returncode}:\n{done.stderr[-2000:]}"
        )
    document = json.loads(done.stdout)
    probes = {probe["probe"].rpartition(":")[2]: probe for probe in document["probes"]}
    return Coverage(
        {name: probe["hits"] for name, probe in probes.items()},
        {name: f"{probe['verdict']} ({probe['reason']})" for name, probe in probes.items()},
        document["signals_lost"],
    )
