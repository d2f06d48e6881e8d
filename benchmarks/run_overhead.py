"""What `ebpf-bot run` adds to a command's wall time: paired runs with and without, real probes.

Run by `make bench`; needs the privileges that `ebpf-bot doctor` names. Targets: `true` under all system calls, and
`openssl dgst` under libcrypto's EVP functions, and under all functions of libcrypto.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time


def seconds(argv: list[str], cwd: str) -> float:
    """Return the wall time of one process."""
    began = time.perf_counter()
    subprocess.run(
        argv, cwd=cwd, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "ENABLE_OTLP": "false"}
    )
    return time.perf_counter() - began


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    bot = [sys.executable, "-m", "ebpf_bot_core", "run"]
    cases = [
        ("syscall:*", ["true"]),
        ("uprobe:libcrypto:EVP_*", ["openssl", "dgst", "-sha256", "/etc/passwd"]),
        ("uprobe:libcrypto:*", ["openssl", "dgst", "-sha256", "/etc/passwd"]),
    ]
    print(f"{'expected':26} {'command':14} {'bare s':>8} {'covered s':>10} {'added s':>8}")
    for pattern, command in cases:
        with tempfile.TemporaryDirectory() as folder:
            bare, covered = [], []
            for _ in range(options.rounds):
                bare.append(seconds(command, folder))
                covered.append(seconds([*bot, "--expect", pattern, "--", *command], folder))
            one, other = statistics.median(bare), statistics.median(covered)
            print(f"{pattern:26} {' '.join(command[:2]):14} {one:8.3f} {other:10.3f} {other - one:8.3f}")


if __name__ == "__main__":
    main()
