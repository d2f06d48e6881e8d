"""Compiling: BCC in a worker process turns a source into instructions, and says what maps they need.

The worker ends with each source. Nothing of it is kept: the maps that the programs will use are made here, by what is said of
them, so a worker that crashes takes nothing with it but its answer.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import attrs

from ebpf_bot_bcc.asking import Said, ask
from ebpf_bot_bcc.bcc_module import bcc_version, find_bcc
from ebpf_bot_bcc.cache import kept
from ebpf_bot_bcc.headers import Headers, headers
from ebpf_bot_bcc.overlay import overlay
from ebpf_bot_bcc.shim import kernel_build_id
from ebpf_bot_core import BackendError

__all__ = ["Compiled", "Compiler", "MapKind"]

_NO_FIELDS: Final = re.compile(r"\bstruct tracepoint__\w+")
_FIELDS_HINT: Final = "the fields of tracepoints are in tracefs, which cannot be read here: sudo mount -t tracefs tracefs /sys/kernel/tracing"
_ERROR_LINE: Final = re.compile(
    r"^(?:/virtual/main\.c|([^:\n]+)):(\d+):(?:\d+:)? (?:fatal )?error: (.*)$(?:\n(.*)$)?", re.MULTILINE
)


@attrs.frozen
class MapKind:
    """What BPF_MAP_CREATE is told of a map, by its fields in linux/bpf.h."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@attrs.frozen
class Compiled:
    """A source as BCC compiled it.

    Attributes:
        license: what the source says of its licence; GPL where it says nothing.
        maps: in the order in which the instructions refer to them.
        functions: {name: instructions}, with BPF_PSEUDO_MAP_IDX for maps.
        events: {map: ((field, type in C), ...)} of the buffers, of the struct that is written to each; empty where BCC
            cannot tell.
    """

    license: str
    maps: tuple[MapKind, ...]
    functions: Mapping[str, bytes] = attrs.field(repr=False)
    events: Mapping[str, tuple[tuple[str, str], ...]]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """Read a worker's answer; worker.py says what it looks like."""
        return cls(
            answer["license"],
            tuple(MapKind(**each) for each in answer["maps"]),
            {function: bytes.fromhex(insns) for function, insns in answer["functions"].items()},
            {
                name: tuple((field, kind) for field, kind in fields)
                for name, fields in answer["events"].items()
            },
        )


class Compiler:
    """Compiles sources for the running kernel; CAP_BPF, since BCC creates the maps while it compiles.

    Args:
        module: the folder that holds BCC's Python package; empty: where distributions have it.
    """

    def __init__(self, module: str = "") -> None:
        self._module = module
        self._known: dict[tuple[str, tuple[str, ...]], Compiled] = {}

    def compile(self, text: str, name: str, cflags: Sequence[str] = ()) -> Compiled:
        """Return a compiled source; one that was compiled before is not compiled again.

        Args:
            text: C, as BCC has it.
            name: what to call it in messages.
            cflags: for clang, such as `-DNAME=1`.

        Raises:
            BackendError: there is no BCC, no headers can be had, the source does not compile (with the compiler's words as
                `log`), or the worker died.
        """
        key = text, tuple(cflags)
        if key not in self._known:
            self._known[key] = Compiled.of(self.answer(text, name, cflags))
        return self._known[key]

    def compile_once(self, text: str, name: str, cflags: Sequence[str] = ()) -> Compiled:
        """Do the same for a source that includes no file of the user's: what an earlier run compiled is taken from a cache."""
        key = text, tuple(cflags)
        if key not in self._known:
            of_what = [
                text,
                list(cflags),
                str(self.headers()),
                kernel_build_id(),
                bcc_version(find_bcc(self._module)),
            ]
            self._known[key] = Compiled.of(kept(of_what, lambda: self.answer(text, name, cflags)))
        return self._known[key]

    def headers(self) -> Headers:
        """Return the headers that sources are compiled against.

        Raises:
            BackendError: there are none, and none can be made.
        """
        return headers(self._declare)

    def answer(self, text: str, name: str, cflags: Sequence[str]) -> dict[str, Any]:
        """Return what a worker answers for a source; `compile` says what is raised."""
        module = find_bcc(self._module)
        used = self.headers()
        environment = {k: v for k, v in os.environ.items() if k != "BCC_KERNEL_SOURCE"}
        if used.folder is not None:
            environment["BCC_KERNEL_SOURCE"] = str(used.folder)
        flags = list(cflags)
        try:
            with tempfile.TemporaryDirectory(prefix="ebpf-bot-bcc-") as scratch:
                if used.made and used.folder is not None:
                    flags.append(f"-I{overlay(text, used.folder, Path(scratch))}")
                request = {"do": "compile", "module": str(module), "text": text, "cflags": flags}
                answer, said = ask(request, environment, scratch)
        except OSError as error:  # a full disk, or an include that can be no file
            raise BackendError(
                f"backend 'bcc': {name} cannot be handed to BCC: {error}",
                hint="BCC is given files in $TMPDIR, for headers that a source includes among them",
            ) from error
        if answer is None:
            raise _refused(name, text, said)
        return answer

    @staticmethod
    def _declare(file: Path) -> None:
        answer, said = ask({"do": "declare", "file": str(file)}, dict(os.environ), str(file.parent))
        if answer is None:
            last = said.text.strip().rpartition("\n")[2] or said.ended
            raise BackendError(
                f"backend 'bcc': the kernel's BTF cannot be written as headers: {last}",
                hint="install libbpf (Debian: libbpf1), or the headers of the running kernel",
                log=said.text,
            )


def _refused(name: str, text: str, said: Said) -> BackendError:
    """Return the error for a source without an answer: the compiler's first, where it was the compiler's."""
    found = _ERROR_LINE.search(said.text)
    if found:
        more = len(_ERROR_LINE.findall(said.text)) - 1
        where = f"{found[1]}:{found[2]}" if found[1] else _place(name, text, int(found[2]), found[4] or "")
        return BackendError(
            f"backend 'bcc': {where}: {found[3]}" + (f" (and {more} more)" if more else ""),
            hint=_FIELDS_HINT
            if _NO_FIELDS.search(found[3])
            else "BCC cannot compile it: what its compiler said stands above",
            log=said.text,
        )
    last = next((line for line in reversed(said.text.splitlines()) if line.strip()), "")
    return BackendError(
        f"backend 'bcc': the worker that compiles {name} {said.ended}"
        + (f": {last.strip()}" if last else ""),
        hint="what it said stands above; `ebpf-bot doctor` shows whether BCC works here",
        log=said.text,
    )


def _place(name: str, text: str, number: int, shown: str) -> str:
    """Return where in a source the compiler found an error: without the line, if it counts those of what BCC made of it."""
    lines = text.split("\n")
    is_of_source = number <= len(lines) and lines[number - 1].expandtabs().rstrip() == shown.rstrip()
    return f"{name}:{number}" if is_of_source else name
