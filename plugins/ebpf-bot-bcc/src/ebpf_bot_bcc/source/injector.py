"""The injector for a user's program: its probes are those that the program's functions serve."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Final

from ebpf_bot_linux import CountSource, Features, LinuxInjector, Point, Programs, Sites, Source

from ebpf_bot_bcc.compiling import Compiled, Compiler
from ebpf_bot_bcc.loading import BccLoader, create_maps
from ebpf_bot_bcc.options import BccOptions
from ebpf_bot_bcc.source.attachments import Attachments, requested
from ebpf_bot_bcc.source.buffers import Buffer, PerfBuffer, RingBuffer
from ebpf_bot_bcc.source.event_source import EventSource, OpenBuffer
from ebpf_bot_bcc.source.grafting import maps_of
from ebpf_bot_bcc.source.layout import struct_dtype
from ebpf_bot_bcc.source.loading import Serving, SourceLoader
from ebpf_bot_bcc.source.map_types import BUFFERS, RINGBUF, refuse_unusable
from ebpf_bot_core import Evidence, Mode, PlanError, ProbePattern, ProbeTable, Scope

__all__ = ["SourceInjector"]

_MOST_WITH_BUFFERS: Final = 64
"""Probes that write to buffers have each its own; a bound on memory that cannot be swapped."""


class SourceInjector(LinuxInjector):
    """Attaches the functions of one source of a user's; a `ProbeInjector`.

    Needs what `BccInjector` needs, for finding as well: what functions there are BCC tells.

    Args:
        options: name the source.
        features, compiler: as for `BccInjector`.
    """

    modes = frozenset(Mode)

    def __init__(
        self, options: BccOptions, features: Features | None = None, compiler: Compiler | None = None
    ) -> None:
        self._compiler = compiler or Compiler(options.module)
        self._chosen = options
        self._file = Path(options.source)
        super().__init__("bcc", BccLoader(self._compiler), features=features)

    @cached_property
    def _source(self) -> Compiled:
        try:
            text = self._file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise PlanError(
                f"backend 'bcc': source {str(self._file)!r} cannot be read: {error}",
                hint="the option `source` is a file of C, relative to where ebpf-bot is run",
            ) from error
        flags = [_from_here(flag) for flag in (f"-I{self._file.parent}", *self._chosen.cflags)]
        compiled = self._compiler.compile(text, self._file.name, flags)
        refuse_unusable(self._file.name, compiled.maps)
        return compiled

    @cached_property
    def _attachments(self) -> Attachments:
        wanted = requested(self._source.functions, self._chosen.attach, self._file.name)
        return Attachments.of(self._file.name, wanted, super().find)

    def find(self, patterns: Sequence[ProbePattern]) -> Evidence:
        """Say which of the source's probes the patterns name."""
        return self._attachments.matching(patterns, super().find)

    def served_by(self, names: Sequence[str], mode: Mode) -> Sequence[str]:
        """Return the function that serves each probe; where it writes to buffers, it is loaded for each of them anew."""
        return [self._program(name, mode) for name in names]

    def load(
        self,
        probes: ProbeTable,
        points: Sequence[Point | None],
        sites: Sites,
        features: Features,
        *,
        scope: Scope,
        mode: Mode,
        keep: bool,
    ) -> tuple[Programs, Source]:
        """Load the source's functions for the probes of a table, and return them with what reads them."""
        served = self.served_by(probes.names, mode)
        rows = [row for row, name in enumerate(served) if name and points[row] is not None]
        functions = {row: self._attachments.function_of[probes[row]] for row in rows}
        written = {row: self._written(functions[row]) if mode is Mode.STREAM else () for row in rows}
        _refuse_too_many(sum(map(bool, written.values())))
        buffers: dict[int, list[OpenBuffer]] = {}
        serving: dict[str, Serving] = {}
        with ExitStack() as opened, ExitStack() as maps:
            for row in rows:
                made = create_maps(tuple(self._source.maps[place] for place in written[row]), {})
                for descriptor in made.values():  # the programs, and what is mapped, hold the maps
                    maps.callback(os.close, descriptor)
                mine = dict(zip(written[row], made.values(), strict=True))
                serving[served[row]] = Serving(functions[row], mine)
                for place, descriptor in mine.items():
                    buffers.setdefault(row, []).append(self._open(place, descriptor))
                    opened.callback(buffers[row][-1].buffer.close)
            loader = SourceLoader(
                BccLoader(self._compiler), self._source, self._file, sites, features, serving
            )
            programs = Programs(loader, sites.size, scope=scope, keep=keep)
            opened.callback(programs.close)
            source: Source
            if mode is Mode.STREAM:
                source = EventSource(probes, sites, programs, buffers)
            else:
                source = CountSource(probes, sites, programs, keep=keep)
            opened.pop_all()
        return programs, source

    def _program(self, probe: str, mode: Mode) -> str:
        function = self._attachments.function_of.get(probe, "")
        has_buffers = mode is Mode.STREAM and function and self._written(function)
        return f"{function}@{probe}" if has_buffers else function

    def _written(self, function: str) -> tuple[int, ...]:
        """Return the places of the buffers that a function writes to."""
        places = maps_of(self._source.functions[function])
        return tuple(sorted(place for place in places if self._source.maps[place].type in BUFFERS))

    def _open(self, place: int, descriptor: int) -> OpenBuffer:
        kind = self._source.maps[place]
        struct = struct_dtype(self._source.events.get(kind.name, ()))
        size = struct.itemsize if struct is not None else 0
        buffer: Buffer
        if kind.type == RINGBUF:
            buffer = RingBuffer(descriptor, kind.max_entries, size)
        else:
            buffer = PerfBuffer(descriptor, size)
        return OpenBuffer(kind.name, buffer, struct)


def _from_here(flag: str) -> str:
    """Return an option of clang with a whole path for headers, since BCC changes to another folder."""
    return f"-I{os.path.abspath(flag[2:])}" if flag[:2] == "-I" and flag[2:] else flag  # noqa: PTH100 - not resolved


def _refuse_too_many(buffered: int) -> None:
    if buffered > _MOST_WITH_BUFFERS:
        raise PlanError(
            f"backend 'bcc': more than {_MOST_WITH_BUFFERS} probes write to buffers",
            hint="narrow the patterns of `attach`, or use --mode count",
        )
