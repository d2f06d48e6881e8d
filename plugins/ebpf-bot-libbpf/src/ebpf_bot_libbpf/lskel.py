"""Loading what the plugin ships: a light skeleton, which the kernel itself relocates, without libbpf or clang.

`bpftool gen skeleton -L` turns an object into two blobs: the instructions of a loader, an eBPF program of type SYSCALL,
and the data that it works on. Run once, the loader creates the maps, relocates the programs against the kernel's BTF and
loads them, and leaves their descriptors in the context that it was given. Kernel 5.17.

Templates are programs that the loader leaves out, since what they are attached to is known later only, and each copy has
a number of its own.

An asset is one line of JSON, then the data, the instructions, and those of the templates. The line holds

- `format`: `ebpf-bot/lskel/2`;
- `source_sha256`: of the headers beside the C source and of it, so that a stale asset is seen;
- `maps`, `programs`: the names, in the order of the loader's context;
- `variables`: for the maps `rodata` and `bss`, {variable: [offset, bytes]};
- `data`, `insns`: how long the blobs are, in bytes;
- `templates`: {name: bytes} in the order of their instructions. These are ready for BPF_PROG_LOAD with the maps in the
  order of `maps` as its fd_array: BPF_PSEUDO_MAP_IDX for a map, BPF_PSEUDO_MAP_IDX_VALUE for a global variable in it;
  kernel 5.14. They expect their number in r1, so one instruction that sets it belongs before them.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Self

import attrs
from ebpf_bot_linux import Asset, KernelError, LoadedObject, ProgramType, Variable, syscalls

__all__ = ["FORMAT", "LightSkeleton", "LightSkeletons"]

FORMAT: Final = "ebpf-bot/lskel/2"

_CONTEXT: Final = struct.Struct("=IIIIQ")  # struct bpf_loader_ctx: sz, flags, log_level, log_size, log_buf
_MAP: Final = struct.Struct("=iIQ")  # struct bpf_map_desc: map_fd, max_entries, initial_value
_PROGRAM: Final = struct.Struct("=i")  # struct bpf_prog_desc: prog_fd
_SLEEPABLE: Final = 1 << 4  # BPF_F_SLEEPABLE, which the loader needs to read our memory
_LOG_SIZE: Final = 1 << 16


@attrs.frozen
class LightSkeleton:
    """An asset as it was read; it can be loaded any number of times."""

    source_sha256: str
    maps: tuple[str, ...]
    programs: tuple[str, ...]
    variables: Mapping[str, Mapping[str, Variable]]
    data: bytes = attrs.field(repr=False)
    insns: bytes = attrs.field(repr=False)
    templates: Mapping[str, bytes] = attrs.field(repr=False)

    @classmethod
    def read(cls, asset: Traversable) -> Self:
        """Read an asset; ValueError if it is not one, or is cut short."""
        line, _, blobs = asset.read_bytes().partition(b"\n")
        header = json.loads(line)
        if header["format"] != FORMAT:
            raise ValueError(f"{asset}: not a whole asset of format {FORMAT}")
        ends = list(itertools.accumulate([header["data"], header["insns"], *header["templates"].values()]))
        if ends[-1] != len(blobs):
            raise ValueError(f"{asset}: not a whole asset of format {FORMAT}")
        data, insns, *templates = (blobs[start:end] for start, end in itertools.pairwise([0, *ends]))
        variables = {
            name: {variable: Variable(*place) for variable, place in places.items()}
            for name, places in header["variables"].items()
        }
        return cls(
            header["source_sha256"],
            tuple(header["maps"]),
            tuple(header["programs"]),
            variables,
            data,
            insns,
            dict(zip(header["templates"], templates, strict=True)),
        )

    def load(self, *, max_entries: Mapping[str, int], constants: Mapping[str, int]) -> LoadedObject:
        """Create the maps and load the programs, all or none.

        Args:
            max_entries: for some maps, how many elements they get.
            constants: values of variables of `rodata`; the others are zero.

        Raises:
            KernelError: with the verifier's log, where it was the verifier that refused.
        """
        try:
            return self._load(max_entries, constants, log=None)
        except KernelError as error:
            log = ctypes.create_string_buffer(_LOG_SIZE)
            # Once more, since a log costs time; where it now succeeds, all the better.
            with suppress(KernelError):
                return self._load(max_entries, constants, log=log)
            raise KernelError(error.action, error.errno, log.value.decode("utf-8", "replace")) from error

    def _load(
        self,
        max_entries: Mapping[str, int],
        constants: Mapping[str, int],
        *,
        log: ctypes.Array[ctypes.c_char] | None,
    ) -> LoadedObject:
        rodata = ctypes.create_string_buffer(self._initial("rodata", constants))
        context = self._context(max_entries, {"rodata": ctypes.addressof(rodata)}, log)
        failed = self._run_loader(context)
        if failed:
            raise KernelError("load the eBPF programs", failed)
        start = _CONTEXT.size
        maps = {}
        for i, name in enumerate(self.maps):
            maps[name] = _MAP.unpack_from(context, start + i * _MAP.size)[0]
        start += len(self.maps) * _MAP.size
        programs = {}
        for i, name in enumerate(self.programs):
            programs[name] = _PROGRAM.unpack_from(context, start + i * _PROGRAM.size)[0]
        return LoadedObject(maps, programs, self.variables, self.templates)

    def _initial(self, name: str, values: Mapping[str, int]) -> bytes:
        places = self.variables[name]
        initial = bytearray(max(place.offset + place.size for place in places.values()))
        for variable, value in values.items():
            place = places[variable]
            initial[place.offset : place.offset + place.size] = value.to_bytes(place.size, "little")
        return bytes(initial)

    def _context(
        self,
        max_entries: Mapping[str, int],
        initial: Mapping[str, int],
        log: ctypes.Array[ctypes.c_char] | None,
    ) -> ctypes.Array[ctypes.c_char]:
        """Return the loader's context; `initial` gives addresses of what maps begin with."""
        size = _CONTEXT.size + len(self.maps) * _MAP.size + len(self.programs) * _PROGRAM.size
        context = ctypes.create_string_buffer(size)
        logged = (1, len(log), ctypes.addressof(log)) if log is not None else (0, 0, 0)
        _CONTEXT.pack_into(context, 0, size, 0, *logged)
        for i, name in enumerate(self.maps):
            place = _CONTEXT.size + i * _MAP.size
            _MAP.pack_into(context, place, 0, max_entries.get(name, 0), initial.get(name, 0))
        return context

    def _run_loader(self, context: ctypes.Array[ctypes.c_char]) -> int:
        """Run the loader on its context; return the errno it ends with, or 0."""
        descriptors = []
        try:
            descriptors.append(syscalls.create_array(len(self.data)))
            syscalls.update_element(descriptors[0], self.data)
            loader = syscalls.load_program(
                self.insns,
                type=ProgramType.SYSCALL,
                flags=_SLEEPABLE,
                name=b"ebpf_bot_loader",
                map_fds=(descriptors[0],),
            )
            descriptors.append(loader)
            result = ctypes.c_int32(syscalls.run_program(loader, context)).value
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return max(-result, 0)


class LightSkeletons:
    """Loads the assets that the plugin ships; a `Loader`."""

    def load(
        self, asset: Asset, *, max_entries: Mapping[str, int], constants: Mapping[str, int]
    ) -> LoadedObject:
        """Create the maps and load the programs of an asset, all or none; KernelError if the kernel refuses."""
        skeleton = LightSkeleton.read(files(__package__).joinpath("bpf", f"{asset.name}.lskel"))
        return skeleton.load(max_entries=max_entries, constants=constants)
