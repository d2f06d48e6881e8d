"""Processes in roots and mount namespaces of their own, which call a function as often as they are told."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Final

import attrs
import pytest

__all__ = ["APP", "Container", "start_container"]

_SECONDS: Final = 60
APP = """
    #include <stdio.h>
    __attribute__((noinline)) int f(int x) { asm volatile(""); return x + 1; }
    int only_inside(int x) { return f(x); }
    /* as many calls as each line says */
    int main(void) {
      int n, x = 0;
      while (scanf("%d", &n) == 1) { while (n--) x = f(x); puts("done"); fflush(stdout); }
      return 0;
    }
"""
_ENTER: Final = """
    mount -t tmpfs tmpfs "$2" && mkdir -p "$2${0%/*}" "$2/usr/lib" "$2/put-old" && cp "$1" "$2$0" || exit 1
    ln -s "$0" "$2/usr/lib/absolute.so"; ln -s "../..$0" "$2/usr/lib/relative.so"
    ln -s /usr/lib "$2/lib"; ln -s /nowhere "$2/usr/lib/broken.so"; ln -s loop.so "$2/usr/lib/loop.so"
    cd "$2" && pivot_root . put-old && exec "$0"
"""


@attrs.frozen
class Container:
    """A process in a root of its own."""

    process: subprocess.Popen[str]
    pid: int
    app: Path
    """Of the program, in the container's root; the host has another copy there."""

    @property
    def seen_root(self) -> str:
        return f"/proc/{self.pid}/root"

    @property
    def seen_app(self) -> str:
        return f"{self.seen_root}{self.app}"

    def call(self, times: int) -> None:
        """Let the program call f so many times, and wait until it has."""
        self.begin(times)
        self.end()

    def begin(self, times: int) -> None:
        """Let the program begin to call f so many times."""
        assert self.process.stdin
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Wait until the program has made the calls that it was told to begin with."""
        assert self.process.stdout
        assert self.process.stdout.readline() == "done\n"

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=_SECONDS)


def start_container(app: Path, inside: Path, root: Path) -> Container:
    """Run a program in a root whose only file system is a tmpfs of its mount namespace.

    Args:
        app: the path that the program has in there.
        inside: the program that is copied there.
        root: an empty directory.
    """
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, app, inside, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and process.poll() is None:
        for child in children.read_text().split():
            if os.readlink(f"/proc/{child}/exe").endswith(f"/{app.name}"):
                return Container(process, int(child), app)
        time.sleep(0.01)
    process.kill()
    process.wait()
    pytest.skip("no namespaces, or no pivot_root, here")
