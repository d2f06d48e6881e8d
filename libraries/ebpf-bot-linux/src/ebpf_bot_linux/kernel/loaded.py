"""What a backend brings: the maps and programs of one asset, loaded into the kernel by whatever compiled them."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from ebpf_bot_linux.kernel import syscalls
from ebpf_bot_linux.kernel.abi import AttachType, ProgramType
from ebpf_bot_linux.kernel.assets import Asset

__all__ = ["LoadedObject", "Loader", "Variable"]

_SET_R1: Final = struct.Struct("=BBhi")  # struct bpf_insn: code, registers, off, imm


@attrs.frozen
class Variable:
    """Where a global variable stands in its map's value, in bytes."""

    offset: int
    size: int


@attrs.define
class LoadedObject:
    """Maps and programs in the kernel, by name; they live while their descriptors do.

    Attributes:
        variables: {map: {variable: place}} of the global variables.
        templates: {template: its instructions}, ready for BPF_PROG_LOAD with the maps in the order of `maps` as its
            fd_array; kernel 5.14. They expect their number in r1.
    """

    maps: dict[str, int]
    programs: dict[str, int]
    variables: Mapping[str, Mapping[str, Variable]]
    templates: Mapping[str, bytes] = attrs.field(repr=False)

    def load_copy(
        self,
        template: str,
        number: int,
        *,
        type: ProgramType,  # noqa: A002 - as the kernel calls it
        attach_type: AttachType = AttachType.NONE,
        btf_id: int = 0,
    ) -> int:
        """Load a copy of a template that knows itself by `number`; return its descriptor, which the caller closes.

        Args:
            number: 31 bits.
            btf_id: for programs of type TRACING, the function that they trace, in the kernel's BTF.

        Raises:
            KernelError: without the verifier's log.
        """
        return syscalls.load_program(
            _SET_R1.pack(0xB7, 1, 0, number) + self.templates[template],  # BPF_ALU64 | BPF_MOV | BPF_K
            type=type,
            attach_type=attach_type,
            name=template.encode()[:15],
            map_fds=tuple(self.maps.values()),
            btf_id=btf_id,
        )

    def close(self) -> None:
        """Close all descriptors. May be called twice."""
        for descriptors in (self.maps, self.programs):
            while descriptors:
                os.close(descriptors.popitem()[1])


class Loader(Protocol):
    """Brings the programs of a mode into the kernel."""

    def load(
        self, asset: Asset, *, max_entries: Mapping[str, int], constants: Mapping[str, int]
    ) -> LoadedObject:
        """Create the maps and load the programs of an asset, all or none; the caller closes what is returned.

        Args:
            max_entries: for some maps, how many elements they get.
            constants: of the variables that are set before loading; the others are zero.

        Raises:
            KernelError: the kernel refuses, with the verifier's log, where it was the verifier that refused.
            BackendError: there is nothing to load, such as a source that does not compile.
        """
        ...
