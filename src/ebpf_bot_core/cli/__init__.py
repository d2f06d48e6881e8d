"""The command line. Results go to stdout, progress and warnings to stderr."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run `ebpf-bot` and exit: 0 done, 1 the gate failed, 2 usage, plan or environment, else the command's status."""
    from ebpf_bot_core.cli.group import execute  # noqa: PLC0415 - a console script imports this module first

    status = execute(sys.argv[1:])
    # While it exits, Python would look through all that was ever made for garbage; that takes a tenth of a second.
    gc.freeze()
    sys.exit(status)
