"""What raw tracepoints are called with, as the kernel's BTF has it (Documentation/bpf/btf.rst).

A tracepoint NAME has a typedef `btf_trace_NAME` of a pointer to a function that takes a `void *`, and then the
tracepoint's arguments. Their names are those of the function `__traceiter_NAME`, whose parameters are the same.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from ebpf_bot_linux.finding.files import open_file
from ebpf_bot_linux.finding.kernel_names import BTF_ROOT
from ebpf_bot_linux.finding.refusals import UnprobeableError

__all__ = ["Prototypes", "read_prototypes"]

Arguments = tuple[tuple[str, np.dtype[np.generic]], ...]
"""Name and type of each argument; a name is empty where there is none."""
Prototypes = Mapping[str, Arguments]
"""By the name of the raw tracepoint."""

_HEADER: Final = struct.Struct("=HBBIIIII")
_TYPE: Final = struct.Struct("=III")  # name_off, info, size or type
_INT, _PTR, _ENUM, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC, _FUNC_PROTO, _ENUM64 = (
    1,
    2,
    6,
    8,
    9,
    10,
    11,
    12,
    13,
    19,
)
_FIXED: Final = {1: 4, 3: 12, 14: 4, 17: 4}
"""Bytes behind the first 12 of a type, by its kind: INT, ARRAY, VAR, DECL_TAG."""
_EACH: Final = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
"""Bytes of each member: STRUCT, UNION, ENUM, FUNC_PROTO, DATASEC, ENUM64."""
_MAX_BYTES: Final = 64 << 20
_MAX_DEPTH: Final = 32
_ADDRESS: Final = np.dtype("<u8")


def read_prototypes(root: Path = BTF_ROOT) -> Prototypes:
    """Return the arguments of all tracepoints of the kernel itself, not of modules; none where it has no BTF.

    Walks all types once: some 0.2 s.
    """
    try:
        with open_file(str(root / "vmlinux")) as opened:
            _, _, _, header, type_at, type_size, text_at, text_size = _HEADER.unpack(
                opened.read(0, _HEADER.size)
            )
            types = opened.read(header + type_at, min(type_size, _MAX_BYTES))
            texts = opened.read(header + text_at, min(text_size, _MAX_BYTES))
    except (UnprobeableError, EOFError, OSError):
        return {}
    return _Types(types, texts).prototypes()


@attrs.frozen
class _Parameters:
    """The parameters of a function: (where the name stands, the type)."""

    listed: tuple[tuple[int, int], ...]


class _Types:
    """The types of one BTF, by their numbers from 1."""

    def __init__(self, types: bytes, texts: bytes) -> None:
        self._types = types
        self._texts = texts
        self._places = [0]
        at = 0
        unpack, fixed, each = _TYPE.unpack_from, _FIXED, _EACH
        while at + _TYPE.size <= len(types):
            self._places.append(at)
            info = unpack(types, at)[1]
            kind = info >> 24 & 0x1F
            at += _TYPE.size + fixed.get(kind, 0) + each.get(kind, 0) * (info & 0xFFFF)

    def prototypes(self) -> dict[str, Arguments]:
        """Return the arguments of each tracepoint."""
        wanted = {"btf_trace_": _TYPEDEF, "__traceiter_": _FUNC}
        found: dict[str, dict[str, _Parameters]] = {prefix: {} for prefix in wanted}
        for number in range(1, len(self._places)):
            name_at, info, target = self._at(number)
            kind = info >> 24 & 0x1F
            if kind not in (_TYPEDEF, _FUNC):
                continue
            for prefix, wanted_kind in wanted.items():
                if kind == wanted_kind and self._texts.startswith(prefix.encode(), name_at):
                    parameters = self._parameters(target)
                    if parameters is not None:
                        found[prefix][self._text(name_at).removeprefix(prefix)] = parameters
        named = found["__traceiter_"]
        return {
            name: self._arguments(parameters, named.get(name))
            for name, parameters in found["btf_trace_"].items()
        }

    def _arguments(self, parameters: _Parameters, named: _Parameters | None) -> Arguments:
        if named is None or len(named.listed) != len(parameters.listed):
            named = parameters
        pairs = zip(named.listed[1:], parameters.listed[1:], strict=True)
        return tuple((self._text(name), self._dtype(kind)) for (name, _), (_, kind) in pairs)

    def _parameters(self, number: int) -> _Parameters | None:
        """Return the parameters of a function, or of what points to one."""
        for _ in range(2):
            _, info, target = self._at(number)
            kind = info >> 24 & 0x1F
            if kind == _FUNC_PROTO:
                start = self._places[number] + _TYPE.size
                listed = struct.iter_unpack("=II", self._types[start : start + 8 * (info & 0xFFFF)])
                return _Parameters(tuple((name, kind) for name, kind in listed))
            if kind != _PTR:
                return None
            number = target
        return None

    def _dtype(self, number: int) -> np.dtype[np.generic]:
        """Return what an argument is; each takes 8 bytes, of which the low ones count."""
        for _ in range(_MAX_DEPTH):
            _, info, target = self._at(number)
            kind = info >> 24 & 0x1F
            if kind in (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT):
                number = target
            elif kind == _INT and target in (1, 2, 4, 8):
                (encoding,) = struct.unpack_from("=I", self._types, self._places[number] + _TYPE.size)
                flags = encoding >> 24 & 0xF
                return np.dtype("?" if flags & 4 and target == 1 else f"<{'i' if flags & 1 else 'u'}{target}")
            elif kind in (_ENUM, _ENUM64) and target in (4, 8):
                return np.dtype(f"<{'i' if info >> 31 else 'u'}{target}")
            else:
                break
        return _ADDRESS

    def _at(self, number: int) -> tuple[int, int, int]:
        if not 0 < number < len(self._places):
            return 0, 0, 0
        return _TYPE.unpack_from(self._types, self._places[number])

    def _text(self, at: int) -> str:
        return self._texts[at : self._texts.find(b"\0", at)].decode("utf-8", "replace")
