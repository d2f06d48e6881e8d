"""Headers made of BTF: kept by the kernel's build id, made once, ours alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ebpf_bot_bcc import shim as shim_module
from ebpf_bot_bcc.shim import kernel_build_id, shim

from ebpf_bot_core import BackendError

RELEASE = platform.release()


def types(file):
    """Stands in for writing the kernel's types, which takes a second."""
    file.write_text("struct task_struct { int pid; };\n")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache of the test's own, and none of the user's choices."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
    return tmp_path / "cache" / "ebpf-bot" / "bcc-headers"


def test_the_build_id_of_this_kernel_is_in_its_notes():
    assert bytes.fromhex(kernel_build_id()) in Path("/sys/kernel/notes").read_bytes()
    assert len(kernel_build_id()) == 40, "a SHA-1"


def note(name, kind, description):
    padded = name + bytes(-len(name) % 4)
    sizes = b"".join(n.to_bytes(4, sys.byteorder) for n in (len(name), len(description), kind))
    return sizes + padded + description + bytes(-len(description) % 4)


@pytest.mark.parametrize(
    ("notes", "build_id"),
    [
        (note(b"GNU\0", 3, b"\1\2\3"), "010203"),
        (note(b"Xen\0", 3, b"no") + note(b"Linux\0", 1, b"x") + note(b"GNU\0", 3, b"\xab" * 20), "ab" * 20),
        (note(b"GNU\0", 1, b"\1\2\3\4"), RELEASE),
        (b"", RELEASE),
        (b"\xff" * 64, RELEASE),
        (note(b"GNU\0", 3, b"\1\2\3")[:11], RELEASE),
    ],
)
def test_notes_are_read_whatever_is_in_them(monkeypatch, tmp_path, notes, build_id):
    (tmp_path / "notes").write_bytes(notes)
    monkeypatch.setattr(shim_module, "_NOTES", tmp_path / "notes")
    assert kernel_build_id() == build_id


def test_without_notes_the_release_tells_kernels_apart(monkeypatch, tmp_path):
    monkeypatch.setattr(shim_module, "_NOTES", tmp_path / "none")
    assert kernel_build_id() == RELEASE


def test_they_are_made_once(cache):
    made = []

    def declare(file):
        made.append(file)
        types(file)

    assert shim(declare) == shim(declare)
    assert len(made) == 1
    assert [each.name for each in cache.iterdir()] == [shim(declare).name]
    assert kernel_build_id() in shim(declare).name


def test_another_build_of_the_kernel_has_its_own(monkeypatch, tmp_path):
    ours = shim(types)
    (tmp_path / "notes").write_bytes(note(b"GNU\0", 3, b"other"))
    monkeypatch.setattr(shim_module, "_NOTES", tmp_path / "notes")
    assert shim(types) != ours


def test_several_who_make_them_at_once_get_the_same(cache):
    together = threading.Barrier(4)
    got = []

    def declare(file):
        together.wait(30)  # all have begun before one ends
        types(file)

    threads = [threading.Thread(target=lambda: got.append(shim(declare))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 4
    assert len(set(got)) == 1
    assert (got[0] / "include" / "vmlinux.h").exists()
    assert [each.name for each in cache.iterdir()] == [got[0].name], "what the others made is left behind"


@pytest.mark.parametrize("error", [BackendError("no libbpf"), OSError(28, "no space"), KeyboardInterrupt()])
def test_what_could_not_be_made_leaves_nothing(cache, error):
    def declare(file):
        raise error

    with pytest.raises((BackendError, KeyboardInterrupt)):
        shim(declare)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_an_error_that_says_so(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BackendError, match="the kernel's types cannot be kept: ") as error:
        shim(types)
    assert "XDG_CACHE_HOME" in error.value.hint


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_that_others_may_write_to_is_refused(cache, mode):
    shim(types)
    cache.chmod(mode)
    with pytest.raises(BackendError, match="may be written by, somebody else"):
        shim(types)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_cache_that_is_somebody_elses_is_refused(cache):
    shim(types)
    os.chown(cache, 65534, 65534)
    with pytest.raises(BackendError, match="belongs to"):
        shim(types)


def test_the_cache_is_for_us_alone_whatever_the_umask(cache):
    before = os.umask(0)
    try:
        folder = shim(types)
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_kernel_without_headers_or_btf_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(shim_module, "BTF", tmp_path / "none")
    with pytest.raises(BackendError, match="neither headers here nor BTF") as error:
        shim(types)
    assert "linux-headers" in error.value.hint


@pytest.mark.live
def test_the_types_are_the_running_kernels(compiler, tmp_path):
    folder = shim(compiler._declare)
    declared = (folder / "include" / "vmlinux.h").read_text()
    program = tmp_path / "size.c"
    program.write_text('#include "vmlinux.h"\nint size = sizeof(struct task_struct);\n')
    subprocess.run(["gcc", "-w", f"-I{folder}/include", "-S", program, "-o", tmp_path / "size.s"], check=True)
    by_gcc = int((tmp_path / "size.s").read_text().split(".long")[1].split()[0])
    assert "struct task_struct {" in declared
    listed = subprocess.run(
        ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    of_btf = [line for line in listed.splitlines() if "STRUCT 'task_struct'" in line]
    assert f"size={by_gcc} " in of_btf[0]
