"""The worker: a process of its own in which BCC runs, since it may crash, write to stderr, or call exit.

    python -I worker.py RESULT_FD < REQUEST

It reads one request, a JSON object, writes one answer to the descriptor, a JSON object as well, and ends. What BCC and its
compiler say goes to stderr. The file imports nothing of the plugin, so that nothing but BCC can fail here.

A request `{"do": "compile", "module": DIR, "text": C, "cflags": [...]}` is answered by

    {"license": TEXT,
     "maps": [{"name", "type", "key_size", "value_size", "max_entries", "flags"}, ...],
     "functions": {NAME: HEX of its instructions},
     "events": {MAP: [[FIELD, TYPE], ...]}}

where instructions refer to maps by their place in that list (BPF_PSEUDO_MAP_IDX). `{"do": "declare", "file": PATH}` writes
all types of this kernel's BTF to the file, as C, and is answered by `{}`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import json
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_BPF_OBJ_GET_INFO_BY_FD = 15
_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_LOAD_64, _MAP_FD, _MAP_IDX = 0x18, 1, 5  # BPF_LD | BPF_IMM | BPF_DW; BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_IDX
_INSTRUCTION = struct.Struct("=BBhi")  # struct bpf_insn: code, registers (source in the upper half), off, imm

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Answer the one request; return the exit status."""
    _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    request = json.load(sys.stdin)
    try:
        answer = _DOES[request.pop("do")](**request)
    except Exception as error:  # noqa: BLE001 - BCC raises just that; where it cannot compile, its compiler has said why
        if not str(error).startswith("Failed to compile BPF module"):
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    with open(int(sys.argv[1]), "w", encoding="utf-8") as result:  # noqa: PTH123 - a descriptor
        json.dump(answer, result)
    return 0


def compile_text(module: str, text: str, cflags: list[str]) -> dict[str, Any]:
    """Compile a source with the `bcc` in a folder; exit with BCC's own words where that fails."""
    see_tracefs()
    bcc = import_bcc(module)

    class Module(bcc.BPF):  # type: ignore[name-defined,misc]  # known at run time only
        """What BCC has compiled, with nothing of it attached, whatever its functions are called."""

        def _trace_autoload(self) -> None:
            """Attach nothing."""

    return describe(Module(text=text, cflags=cflags), typed(bcc.libbcc.lib))


def import_bcc(folder: str) -> Any:
    """Import the package `bcc` of one folder, without making anything else of that folder importable."""
    path = f"{folder}/bcc"
    spec = importlib.util.spec_from_file_location(
        "bcc",
        f"{path}/__init__.py",
        submodule_search_locations=[path],
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package bcc in {folder}")
    bcc = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = bcc
    spec.loader.exec_module(bcc)
    return bcc


def typed(lib: Any) -> Any:
    """Give those functions of libbcc types to which BCC's own Python has given none."""
    lib.bpf_num_tables.restype, lib.bpf_num_tables.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    lib.bpf_table_name.restype = ctypes.c_char_p
    lib.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return lib


def see_tracefs() -> None:
    """Mount tracefs where no one else sees it, for BCC looks there for the fields of tracepoints."""
    if os.path.exists("/sys/kernel/tracing/events") or os.path.exists("/sys/kernel/debug/tracing/events"):  # noqa: PTH110
        return
    if _libc.unshare(_CLONE_NEWNS) == 0 and _libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None) == 0:
        _libc.mount(b"tracefs", b"/sys/kernel/tracing", b"tracefs", 0, None)


def describe(module: Any, lib: Any) -> dict[str, Any]:
    """Return the answer for a compiled module."""
    handle = module.module
    names = [lib.bpf_table_name(handle, i) for i in range(lib.bpf_num_tables(handle))]
    fds = [lib.bpf_table_fd(handle, name) for name in names]
    place = {fd: i for i, fd in enumerate(fds)}
    functions = [lib.bpf_function_name(handle, i) for i in range(lib.bpf_num_functions(handle))]
    return {
        "license": lib.bpf_module_license(handle).decode(),
        "maps": [{"name": name.decode(), **map_info(fd)} for name, fd in zip(names, fds, strict=True)],
        "functions": {name.decode(): by_place(module.dump_func(name), place).hex() for name in functions},
        "events": {
            name.decode(): [
                lib.bpf_perf_event_field(handle, name, i).decode().split("#", 1)
                for i in range(lib.bpf_perf_event_fields(handle, name))
            ]
            for name in names
        },
    }


def map_info(fd: int) -> dict[str, int]:
    """Return what the kernel says of a map: the first words of struct bpf_map_info."""
    info = (ctypes.c_uint32 * 6)()
    attr = struct.pack("=IIQ", fd, ctypes.sizeof(info), ctypes.addressof(info))
    held = ctypes.create_string_buffer(attr, len(attr))
    if _libc.syscall(_SYS_BPF[os.uname().machine], _BPF_OBJ_GET_INFO_BY_FD, held, len(attr)) < 0:
        raise OSError(ctypes.get_errno(), "BPF_OBJ_GET_INFO_BY_FD")
    names = ("type", "id", "key_size", "value_size", "max_entries", "flags")
    return {name: value for name, value in zip(names, info, strict=True) if name != "id"}


def by_place(insns: bytes, place: dict[int, int]) -> bytes:
    """Return instructions that refer to maps by their place in a list where they had this process's descriptors."""
    named = bytearray(insns)
    for at in range(0, len(insns), _INSTRUCTION.size):
        code, registers, off, imm = _INSTRUCTION.unpack_from(insns, at)
        if code == _LOAD_64 and registers >> 4 == _MAP_FD:
            _INSTRUCTION.pack_into(named, at, code, registers & 15 | _MAP_IDX << 4, off, place[imm])
    return bytes(named)


def declare_types(file: str) -> dict[str, Any]:
    """Write the types of this kernel as C, by libbpf, which BCC itself needs; `struct btf_dump` of bpf/btf.h."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    libbpf.btf__load_vmlinux_btf.restype = ctypes.c_void_p
    libbpf.btf__type_cnt.argtypes = [ctypes.c_void_p]
    libbpf.btf_dump__new.restype = ctypes.c_void_p
    libbpf.btf_dump__new.argtypes = [ctypes.c_void_p] * 4
    libbpf.btf_dump__dump_type.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    _libc.fopen.restype = ctypes.c_void_p
    _libc.fclose.argtypes = [ctypes.c_void_p]
    btf = libbpf.btf__load_vmlinux_btf()
    stream = _libc.fopen(file.encode(), b"w")
    if not btf or not stream:
        raise OSError(ctypes.get_errno(), "the kernel's BTF cannot be read, or the file not be written")
    # What libbpf calls for each piece of text has the parameters of vfprintf(3).
    dump = libbpf.btf_dump__new(btf, ctypes.cast(_libc.vfprintf, ctypes.c_void_p), stream, None)
    for number in range(1, libbpf.btf__type_cnt(btf)):
        if libbpf.btf_dump__dump_type(dump, number) < 0:
            raise OSError(ctypes.get_errno(), f"type {number} of the kernel's BTF cannot be written as C")
    if _libc.fclose(stream) != 0:
        raise OSError(ctypes.get_errno(), file)
    return {}


_DOES: dict[str, Callable[..., dict[str, Any]]] = {"compile": compile_text, "declare": declare_types}

if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
