"""Loading a user's functions for the sites of a run, each with what admits its hits before it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs
from ebpf_bot_linux import (
    Asset,
    AttachType,
    Features,
    KernelError,
    LoadedAs,
    LoadedObject,
    ProgramType,
    Sites,
    loaded_as,
    syscalls,
)

from ebpf_bot_bcc.compiling import Compiled, MapKind
from ebpf_bot_bcc.loading import BccLoader, create_maps
from ebpf_bot_bcc.source.grafting import graft, maps_of, with_maps
from ebpf_bot_bcc.source.map_types import BUFFERS
from ebpf_bot_core import BackendError

__all__ = ["Serving", "SourceLoader", "SourceObject"]

_ADMITS: Final = {
    (ProgramType.KPROBE, AttachType.UPROBE_MULTI): "admit_code",
    (ProgramType.KPROBE, AttachType.KPROBE_MULTI): "admit_kprobe",
    (ProgramType.KPROBE, AttachType.NONE): "admit_event",
    (ProgramType.TRACEPOINT, AttachType.NONE): "admit_event",
    (ProgramType.PERF_EVENT, AttachType.NONE): "admit_event",
}
_ADMITS_COPY: Final = "admit_site"
_BESIDE: Final = re.compile(
    r"processed \d|(?:cur|old) state:|\d+: |from \d+ to |R\d+\w*=|mark_precise|verification time|stack depth|;"
)
"""What the verifier says beside its reason, which is the last of the other lines."""


@attrs.frozen
class Serving:
    """What serves a probe: a function, and buffers of the probe's own in the place of those that the source declares.

    Attributes:
        function: its name in the source.
        buffers: {place of a map in the source: descriptor}.
    """

    function: str
    buffers: Mapping[int, int] = attrs.field(factory=dict)


class SourceObject(LoadedObject):
    """The plugin's own programs, as ever, and those of a source beside them."""

    def __init__(self, own: LoadedObject, admits: Mapping[str, bytes], source: Compiled, file: Path) -> None:
        super().__init__(own.maps, own.programs, own.variables, own.templates)
        self._admits = admits
        self._source = source
        self._file = file
        self._maps = create_maps(_not_buffers(source.maps), {})
        self._serving: dict[str, Serving] = {}
        self._buffers: list[int] = []

    def add(self, name: str, serving: Serving, how: LoadedAs | None) -> None:
        """Load what serves probes under a name; None: it is loaded when a site asks for a copy of it.

        Copies are loaded when they are attached, so the buffers are held here as well.

        Raises:
            BackendError: the verifier rejects it; its words are the error's log.
        """
        own: dict[int, int] = {}
        for place, descriptor in serving.buffers.items():
            own[place] = os.dup(descriptor)
            self._buffers.append(own[place])
        serving = self._serving[name] = Serving(serving.function, own)
        if how is None:
            return
        try:
            if how.has_cookie:
                admit = self._admits[_ADMITS[how.type, how.attach_type]]
                self.programs[name] = self._load(serving, admit, how.type, how.attach_type)
            else:  # so that what the verifier rejects is told before anything is attached
                os.close(self._load(serving, self._admits[_ADMITS_COPY], how.type, how.attach_type, site=0))
        except KernelError as error:
            raise self._rejected(serving.function, error) from error

    def load_copy(
        self,
        template: str,
        number: int,
        *,
        type: ProgramType,  # noqa: A002 - as the kernel calls it
        attach_type: AttachType = AttachType.NONE,
        btf_id: int = 0,
    ) -> int:
        """Load a copy of a template of the plugin's, or of a function of the source, that counts for one site."""
        if template not in self._serving:
            return super().load_copy(template, number, type=type, attach_type=attach_type, btf_id=btf_id)
        admit = self._admits[_ADMITS_COPY]
        return self._load(self._serving[template], admit, type, attach_type, site=number, btf_id=btf_id)

    def close(self) -> None:
        """Close all descriptors. May be called twice."""
        super().close()
        while self._maps:
            os.close(self._maps.popitem()[1])
        while self._buffers:
            os.close(self._buffers.pop())

    def _load(
        self,
        serving: Serving,
        admit: bytes,
        type: ProgramType,  # noqa: A002 - likewise
        attach_type: AttachType,
        *,
        site: int | None = None,
        btf_id: int = 0,
    ) -> int:
        descriptors = list(self.maps.values())
        function = self._source.functions[serving.function]
        places = {}
        for place in maps_of(function):
            places[place] = len(descriptors)
            kind = self._source.maps[place]
            own = serving.buffers.get(place)
            descriptors.append(self._shared(kind) if own is None else own)
        return syscalls.load_program(
            graft(admit, with_maps(function, places), site),
            type=type,
            attach_type=attach_type,
            name=serving.function.encode()[:15],
            map_fds=tuple(descriptors),
            btf_id=btf_id,
            license=self._source.license,
            logs=True,
        )

    def _shared(self, kind: MapKind) -> int:
        """Return the map that all functions of the source share; buffers that nobody reads are made when asked for."""
        if kind.name not in self._maps:
            self._maps |= create_maps((kind,), {})
        return self._maps[kind.name]

    def _rejected(self, function: str, error: KernelError) -> BackendError:
        said = [line.strip() for line in error.log.splitlines() if line.strip()]
        if not said:
            return error
        reasons = [line for line in said if not _BESIDE.match(line)] or said
        return BackendError(
            f"backend 'bcc': the kernel's verifier rejects {function} of {self._file.name}: {reasons[-1]}",
            hint="its log, above, ends where the program does what it may not",
            log=error.log,
        )


@attrs.frozen
class SourceLoader:
    """Loads the plugin's programs, and the functions that serve the sites of one table; a `Loader`.

    Attributes:
        own: loads the plugin's.
        source: the compiled source; `file` is where it is from.
        serving: {name of a program, as `Sites` has it: what it is}.
    """

    own: BccLoader
    source: Compiled
    file: Path
    sites: Sites
    features: Features
    serving: Mapping[str, Serving]

    def load(
        self, asset: Asset, *, max_entries: Mapping[str, int], constants: Mapping[str, int]
    ) -> SourceObject:
        """Create the maps and load the programs, all or none.

        Raises:
            KernelError: the kernel refuses one of the plugin's; BackendError if BCC cannot compile, or the verifier rejects
                a function of the source.
        """
        admits = self.own.compiled(constants).functions
        own = self.own.load(asset, max_entries=max_entries, constants=constants)
        try:
            loaded = SourceObject(own, admits, self.source, self.file)
        except BaseException:
            own.close()
            raise
        try:
            for group in self.sites.groups:
                name = group.kind.program
                if not name:  # of probes that no function serves, which are never attached
                    continue
                loaded.add(name, self.serving[name], loaded_as(group.kind, self.features))
        except BaseException:
            loaded.close()
            raise
        return loaded


def _not_buffers(maps: Iterable[MapKind]) -> tuple[MapKind, ...]:
    return tuple(kind for kind in maps if kind.type not in BUFFERS)
