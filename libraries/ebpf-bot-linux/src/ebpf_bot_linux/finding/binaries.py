"""Binaries: files examined once, however many patterns ask for what is in them."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import attrs

from ebpf_bot_core import Reason, Verdict
from ebpf_bot_linux.finding.damage import damage_refused
from ebpf_bot_linux.finding.elf import MAGIC, Elf, Segment
from ebpf_bot_linux.finding.files import OpenFile, open_file
from ebpf_bot_linux.finding.refusals import UnprobeableError
from ebpf_bot_linux.finding.startup import load_offset
from ebpf_bot_linux.points import Binary

__all__ = ["Binaries", "Examined", "Read"]

T = TypeVar("T")
Read = Callable[[OpenFile, Elf, tuple[Segment, ...]], T]
"""Reads what is sought from a binary and its PT_LOAD segments; may raise what `damage_refused` catches."""

_NATIVE: Final = {"x86_64": ("EM_X86_64", "EM_386"), "aarch64": ("EM_AARCH64",)}
"""Machine -> architectures of the binaries whose processes its kernel can probe."""
_LINKED: Final = ("ET_EXEC", "ET_DYN")
_NOT_LINKED: Final = {"ET_REL": "an object file that is not linked", "ET_CORE": "a core dump"}
_HEAD: Final = 256
"""Bytes that tell what a file is that is not ELF; the kernel too reads 256 for the interpreter of a script."""


@attrs.frozen(eq=False)
class Examined(Generic[T]):
    """One binary and what was sought in it."""

    binary: Binary
    content: T


class Binaries(Generic[T]):
    """Examines binaries, each as often as it changes.

    Args:
        machine: as uname(2) gives it.
    """

    def __init__(self, read: Read[T], machine: str = "") -> None:
        self._read_content = read
        self._machine = machine or platform.machine()
        self._known: dict[tuple[int, int, int, int], Examined[T] | UnprobeableError] = {}

    def examine(self, path: str) -> Examined[T]:
        """Return what is known of the binary at `path`, reading it only if it is new or has changed.

        Raises:
            UnprobeableError: there is no such file, or it is no binary that this machine could run.
        """
        with open_file(path) as file:
            known = self._known.get(file.identity)
            if known is None:
                known = self._known[file.identity] = self._attempt(file)
            if isinstance(known, UnprobeableError):
                raise known.anew()
            # The same file may be known by another of its names.
            return attrs.evolve(known, binary=attrs.evolve(known.binary, path=file.path))

    def _attempt(self, file: OpenFile) -> Examined[T] | UnprobeableError:
        try:
            with damage_refused(file.path):
                return self._read(file)
        except UnprobeableError as error:
            return error.anew()

    def _read(self, file: OpenFile) -> Examined[T]:
        if file.read(0, min(file.size, len(MAGIC))) != MAGIC:
            raise UnprobeableError(Verdict.REFUSED, Reason.NOT_ELF, _what_instead(file))
        elf = Elf(file)
        self._refuse_foreign(file, elf)
        segments = elf.segments()
        executable = tuple((s.offset, s.size) for s in segments if s.executable)
        if not executable:
            raise UnprobeableError(Verdict.REFUSED, Reason.NOT_ELF, f"no part of {file.path} is executable")
        content = self._read_content(file, elf, segments)
        device, inode, mtime_ns, size = file.identity
        binary = Binary(
            path=file.path,
            device=device,
            inode=inode,
            mtime_ns=mtime_ns,
            size=size,
            segments=executable,
            load_offset=load_offset(file, elf, segments),
        )
        return Examined(binary, content)

    def _refuse_foreign(self, file: OpenFile, elf: Elf) -> None:
        if elf.machine not in _NATIVE.get(self._machine, ()) or not elf.little_endian:
            name = str(elf.machine).removeprefix("EM_")
            detail = f"{file.path} is for the architecture {name}; this machine is {self._machine}"
            raise UnprobeableError(Verdict.REFUSED, Reason.NOT_ELF, detail)
        if elf.type not in _LINKED:
            kind = _NOT_LINKED.get(str(elf.type), "ELF of an unknown type")
            detail = f"{file.path} is {kind}, not a program or library"
            raise UnprobeableError(Verdict.REFUSED, Reason.NOT_ELF, detail)


def _what_instead(file: OpenFile) -> str:
    """Say what a file is that is not ELF, and for a script what runs it."""
    head = file.read(0, min(file.size, _HEAD))
    if not head:
        return f"{file.path} is empty"
    if head.startswith(b"#!"):
        words = head[2:].partition(b"\n")[0].decode("utf-8", "replace").split()
        runner = words[0] if words else "/bin/sh"
        if Path(runner).name == "env":
            command = next((word for word in words[1:] if word[0] != "-" and "=" not in word), "")
            runner = shutil.which(command) or command or runner
        return f"{file.path} is a script; probe its interpreter instead: {ascii(runner)[1:-1]}"
    if head.startswith(b"!<arch>\n"):
        return f"{file.path} is a static library; probe the programs that were linked with it"
    text = head.decode("utf-8", "replace")
    looks = all(char.isprintable() or char.isspace() for char in text[:-1]) and "\ufffd" not in text[:-4]
    return f"{file.path} is {'text' if looks else 'data'}, not ELF"
