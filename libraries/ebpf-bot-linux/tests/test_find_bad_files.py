"""Files that are no sound binaries: each is a row with a reason, at once, whatever it is."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ebpf_bot_linux.finding.finder import Finder

from ebpf_bot_core import ProbeEvidence, ProbePattern, Reason, Verdict

PARTS = 16


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program"
    source = path.with_suffix(".c")
    source.write_text("int f(int x) { return x; }\nint main(void) { return f(0); }\n")
    subprocess.run(["gcc", "-o", path, source], check=True)
    return path


def only_row(target: str | Path, name: str = "*") -> ProbeEvidence:
    """Find one pattern, in less than a second of work; its only row has the pattern's own text."""
    text = f"uprobe:{target}:{name}"
    began = time.process_time()
    (row,) = Finder(debug_root=Path("/nonexistent")).find([ProbePattern.parse(text)])
    assert time.process_time() - began < 1
    assert row.probe == text
    assert row.reason is not Reason.NONE
    assert row.detail
    return row


def test_a_path_that_does_not_exist_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for path in ("nothing", "file/below", "dangling", "nothing/../nothing"):
        row = only_row(tmp_path / path)
        assert (row.verdict, row.reason) == (Verdict.MISSING, Reason.BINARY_MISSING)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"just a note\n", "text"),
        ("Grüße aus Köln\n".encode(), "text"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(range(256)), "data"),
        (b"\x7fELK" + bytes(100), "data"),
        (b"\x7fE", "data"),
        (b"!<arch>\n" + bytes(100), "static library"),
        (b"#!/bin/bash -e\necho\n", "interpreter instead: /bin/bash"),
        (b"#! /opt/my shell\n", "interpreter instead: /opt/my"),
        (b"#!/usr/bin/env -S LC_ALL=C sh -e\n", f"interpreter instead: {shutil.which('sh')}"),
        (b"#!/usr/bin/env no-such-shell\n", "interpreter instead: no-such-shell"),
        (b"#!", "interpreter instead: /bin/sh"),
        (b"#!/bin/\xff\x1b[31m\n", "interpreter instead"),
    ],
)
def test_what_is_not_elf_is_refused_and_said_to_be_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    row = only_row(path)
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NOT_ELF)
    assert said in row.detail
    assert row.detail.isprintable()


@pytest.fixture
def special(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Files that must not be opened, by what they are."""
    fifo, named = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(named))
        yield {
            "a directory": tmp_path,
            "a FIFO": fifo,
            "a socket": named,
            "a character device": Path("/dev/zero"),
        }


def test_what_is_no_regular_file_is_refused_without_opening_it(
    special: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    system_open = os.open

    def watched(path: str, flags: int, *rest: int, **more: int) -> int:
        if not flags & os.O_PATH:
            opened.append(path)
        return system_open(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", watched)
    for kind, path in special.items():
        row = only_row(path)
        assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NOT_ELF)
        assert kind in row.detail
    assert opened == []
    only_row(__file__)
    assert len(opened) == 1, "the watch sees files that are opened"


def test_a_loop_of_links_and_a_name_beyond_every_limit_are_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (loop, Path("/" + "a" * 5000)):
        row = only_row(path)
        assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.UNREADABLE)


def test_a_file_larger_than_any_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"\x7fELF")
    os.truncate(path, (4 << 30) + 1)  # sparse: it takes no space
    row = only_row(path)
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.NOT_ELF)
    assert str((4 << 30) + 1) in row.detail


@pytest.mark.parametrize("part", range(PARTS))
def test_a_truncated_program_is_refused(program: Path, tmp_path: Path, part: int) -> None:
    content = program.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(content[: len(content) * part // PARTS])
    row = only_row(cut)
    assert row.verdict is Verdict.REFUSED
    assert row.reason is (Reason.MALFORMED_ELF if part else Reason.NOT_ELF)


def test_a_program_that_is_truncated_while_it_is_read_is_refused(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shrinking"
    shutil.copy(program, path)
    system_read = os.pread

    def shrinking(descriptor: int, size: int, offset: int) -> bytes:
        data = system_read(descriptor, size, offset)
        os.truncate(path, 64)
        return data

    monkeypatch.setattr(os, "pread", shrinking)
    row = only_row(path)
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.MALFORMED_ELF)


def test_a_medium_that_fails_is_refused(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(os, "pread", failing)
    row = only_row(program)
    assert (row.verdict, row.reason) == (Verdict.REFUSED, Reason.UNREADABLE)
    assert os.strerror(5) in row.detail


AS_NOBODY = """
import json, os, sys
from ebpf_bot_core import ProbePattern
from ebpf_bot_linux.finding.finder import Finder
patterns = [ProbePattern.parse(text) for text in sys.argv[1:]]
finder = Finder()
finder.find([])
if os.geteuid() == 0:
    os.setgroups([])
    os.seteuid(65534)
print(json.dumps([[row.probe, row.verdict.label, row.reason.code, row.detail] for row in finder.find(patterns)]))
"""


def as_nobody(*patterns: str) -> list[list[str]]:
    """Find patterns as a user without any privilege; rows of probe, verdict, reason and detail."""
    command = [sys.executable, "-c", AS_NOBODY, *patterns]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    rows: list[list[str]] = json.loads(done.stdout)
    return rows


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can look into, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


def test_a_file_that_may_not_be_read_is_refused(program: Path, public: Path) -> None:
    secret, closed = public / "secret", public / "closed"
    shutil.copy(program, secret)
    closed.mkdir()
    shutil.copy(program, closed / "program")
    secret.chmod(0o000)
    closed.chmod(0o000)
    for path in (secret, closed / "program"):
        ((probe, verdict, reason, detail),) = as_nobody(f"uprobe:{path}:*")
        assert (probe, verdict, reason) == (f"uprobe:{path}:*", "refused", "unreadable")
        assert "Permission denied" in detail
    closed.chmod(0o755)
    secret.chmod(0o755)
    assert [row[1] for row in as_nobody(f"uprobe:{secret}:main")] == ["pending"]


def test_a_path_that_no_probe_name_can_spell_is_refused(program: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd\n"
    odd.mkdir()
    shutil.copy(program, odd / "program")
    link = tmp_path / "link"
    link.symlink_to(odd / "program")
    # Its real path cannot be written, so it keeps the name by which it was asked for.
    (row,) = Finder().find([ProbePattern.parse(f"uprobe:{link}:main")])
    assert (row.probe, row.verdict) == (f"uprobe:{link}:main", Verdict.PENDING)
    assert only_row(f"{tmp_path}/odd*/program").verdict is Verdict.MISSING


def test_a_program_that_was_deleted_can_be_reached_through_its_process(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "sleeping"
    shutil.copy(shutil.which("cat") or "", path)
    with subprocess.Popen([path], stdin=subprocess.PIPE) as process:
        path.unlink()
        shutil.copy(program, f"{path} (deleted)")  # what /proc/PID/exe claims to be the path
        row = only_row(f"/proc/{process.pid}/exe", "no_such_function")
        assert f"/proc/{process.pid}/exe has no" in row.detail


def test_a_bad_file_is_read_once_for_many_patterns(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut"
    path.write_bytes(program.read_bytes()[:5000])
    reads = []
    system_read = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        reads.append(offset)
        return system_read(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    finder = Finder()
    patterns = [ProbePattern.parse(f"uprobe:{path}:f{number}") for number in range(50)]
    found = finder.find(patterns[:1])
    once = len(reads)
    assert once > 0
    found = finder.find(patterns)
    assert len(reads) == once
    assert {row.reason for row in found} == {Reason.MALFORMED_ELF}
    assert len({row.detail for row in found}) == 1
