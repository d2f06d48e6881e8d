"""Real programs, run with the shipped configuration: only addresses and paths are rewritten."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import pytest

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = ROOT / "build" / "stack"
LONGEST: Final = 60.0
"""Seconds after which something that was to come does not come."""


def program(name: str) -> Path:
    """Return a program; its test is skipped where it could not be had."""
    path = PROGRAMS / name
    if not path.exists():
        pytest.skip(f"{name} is not there: `make stack-programs` gets it")
    return path


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def rewritten(path: Path, changes: Mapping[str, object]) -> str:
    """Return a shipped file with other addresses and paths; each must be in it, so that no change is lost on it."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"{path.name} no longer has {old}"
        text = text.replace(old, str(new))
    return text


def get(url: str, accept: str = "*/*") -> str:
    """Return what an HTTP server answers."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def answers(url: str) -> bool:
    try:
        get(url)
    except (OSError, urllib.error.HTTPError):
        return False
    return True


def eventually(what, seconds: float = LONGEST):
    """Return what a function returns once that is true; fail where it does not become so."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, f"nothing came within {seconds:g} s: {found!r}"
        time.sleep(0.1)


class Program:
    """A program that runs until it is left; a context manager that can be entered again, as after a restart.

    Args:
        ready: the URL that answers once it is up.
    """

    def __init__(self, *words: object, log: Path, ready: str, cwd: Path) -> None:
        self._words = [str(word) for word in words]
        self._ready = ready
        self._cwd = cwd
        self.log = log

    def __enter__(self) -> Self:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log, cwd=self._cwd)
        eventually(lambda: answers(self._ready) or self._process.poll() is not None)
        assert self._process.poll() is None, self.log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
