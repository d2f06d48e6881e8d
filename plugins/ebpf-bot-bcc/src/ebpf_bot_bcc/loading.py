"""Loading what BCC has compiled: the maps at the sizes of a run, then the programs, each as the type that it is for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import attrs
from ebpf_bot_linux import (
    Asset,
    AttachType,
    KernelError,
    LoadedObject,
    ProgramType,
    Variable,
    Variables,
    syscalls,
)

from ebpf_bot_bcc.compiling import Compiled, Compiler, MapKind
from ebpf_bot_core import BackendError

__all__ = ["BccLoader", "create_maps"]

_SLOTS: Final = 1024
_STATE: Final = {
    "execs": Variable(0, 8),
    "foster": Variable(8, 4),
    "expected": Variable(12, 4),
    "link_from": Variable(16, 4),
    "link_to": Variable(20, 4),
    "others": Variable(24, 4),
    "syscall_sites": Variable(32, 4 * _SLOTS),
    "syscall_exit_sites": Variable(32 + 4 * _SLOTS, 4 * _SLOTS),
}
"""`struct ebpf_bot_state` of programs.c."""

_ON_PROBE: Final = ProgramType.KPROBE, AttachType.NONE
_BY_UPROBE_MULTI: Final = ProgramType.KPROBE, AttachType.UPROBE_MULTI
_BY_KPROBE_MULTI: Final = ProgramType.KPROBE, AttachType.KPROBE_MULTI
_RAW: Final = ProgramType.RAW_TRACEPOINT, AttachType.NONE
_PROGRAMS: Final = {
    "uprobe_hit": _BY_UPROBE_MULTI,
    "uprobe_load": _BY_UPROBE_MULTI,
    "uprobe_trial": _BY_UPROBE_MULTI,
    "event_hit": _ON_PROBE,
    "event_load": _ON_PROBE,
    "kprobe_hit": _BY_KPROBE_MULTI,
    "kprobe_trial": _BY_KPROBE_MULTI,
    "raw_hit": _RAW,
    "tracepoint_hit": (ProgramType.TRACEPOINT, AttachType.NONE),
    "sample_hit": (ProgramType.PERF_EVENT, AttachType.NONE),
    "syscall_hit": _RAW,
    "syscall_exit_hit": _RAW,
    "scope_newtask": _RAW,
    "scope_exec": _RAW,
    "scope_own_tid": _RAW,
}
_NEEDS_NEWER: Final = frozenset({"raw_hit"})
"""Programs that kernels before 6.10 refuse (cookies of raw tracepoints); there they are not asked for."""
_TEMPLATE: Final = "site_hit"


@attrs.frozen
class BccLoader:
    """Has BCC compile the plugin's programs, and loads them; a `Loader` for count mode."""

    compiler: Compiler

    def compiled(self, constants: Mapping[str, int]) -> Compiled:
        """Return the programs as they are compiled for the constants of a run."""
        flags = [f"-D{name.upper()}={constants[name]:d}" for name in ("filter", "keep")]
        text = files(__package__).joinpath("programs.c").read_text(encoding="utf-8")
        return self.compiler.compile_once(text, "programs.c", flags)

    def load(
        self, asset: Asset, *, max_entries: Mapping[str, int], constants: Mapping[str, int]
    ) -> LoadedObject:
        """Create the maps and load the programs, all or none.

        Raises:
            KernelError: the kernel refuses, with the verifier's log; BackendError if BCC cannot compile.
        """
        if asset.name != "coverage":
            raise BackendError(
                f"backend 'bcc' has no programs for {asset.name} mode", hint="use --mode count"
            )
        compiled = self.compiled(constants)
        maps = create_maps(compiled.maps, max_entries)
        loaded = LoadedObject(maps, {}, {"bss": _STATE}, {_TEMPLATE: compiled.functions[_TEMPLATE]})
        try:
            for name, (kind, attach_type) in _PROGRAMS.items():
                try:
                    loaded.programs[name] = syscalls.load_program(
                        compiled.functions[name],
                        type=kind,
                        attach_type=attach_type,
                        name=name.encode()[:15],
                        map_fds=tuple(maps.values()),
                        logs=True,
                    )
                except KernelError:
                    if name not in _NEEDS_NEWER:
                        raise
            _set(loaded, {"others": constants.get("others", 0)})
        except BaseException:
            loaded.close()
            raise
        return loaded


def create_maps(kinds: tuple[MapKind, ...], max_entries: Mapping[str, int]) -> dict[str, int]:
    """Create maps and return their descriptors by name, in their order, which is that of the instructions' references.

    Args:
        max_entries: of those that are to be of another size than was compiled.

    Raises:
        KernelError: nothing was created.
    """
    maps: dict[str, int] = {}
    try:
        for kind in kinds:
            maps[kind.name] = syscalls.create_map(
                kind.type,
                key_size=kind.key_size,
                value_size=kind.value_size,
                max_entries=max_entries.get(kind.name, kind.max_entries),
                flags=kind.flags,
                name=kind.name.encode()[:15],
            )
    except KernelError:
        for descriptor in maps.values():
            os.close(descriptor)
        raise
    return maps


def _set(loaded: LoadedObject, values: Mapping[str, int]) -> None:
    variables = Variables(loaded.maps["bss"], _STATE)
    for name, value in values.items():
        variables.set(name, value)
    variables.close()
