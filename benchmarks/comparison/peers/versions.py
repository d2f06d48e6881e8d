"""What a tool says its version is."""

from __future__ import annotations

import re
import shutil
import subprocess

__all__ = ["debian_version", "said_version"]


def said_version(*argv: str) -> str | None:
    """Return the first number in what a command prints; None where the command is not installed."""
    if shutil.which(argv[0]) is None:
        return None
    output = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"\d+(\.\d+)+", output)
    return found[0] if found else "unknown"


def debian_version(package: str) -> str:
    """Return the version of an installed package."""
    command = ["dpkg-query", "--show", "--showformat=${Version}", package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout or "unknown"
