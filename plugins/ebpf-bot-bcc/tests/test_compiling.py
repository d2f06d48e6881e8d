"""Compiling: whatever becomes of the worker is one error in words, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time

import pytest
from ebpf_bot_bcc import asking, compiling
from ebpf_bot_bcc.compiling import Compiler

from ebpf_bot_core import BackendError

SECONDS = 30
FINE = "int f(void *ctx) { return 0; }"


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path):
    """Where the workers' files are; none stays."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def fake(tmp_path):
    """A BCC that does something else when it is imported; it leaves its process id in a file."""

    def make(code):
        package = tmp_path / "module" / "bcc"
        package.mkdir(parents=True)
        (package / "libbcc.py").touch()
        (package / "version.py").touch()
        pid = f"import os, sys, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        (package / "__init__.py").write_text(pid + code)
        return Compiler(str(package.parent))

    return make


@pytest.fixture
def worker(tmp_path):
    """The process id of the worker, once it runs."""

    def wait():
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            text = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""
            if text:
                return int(text)
            time.sleep(0.01)
        raise AssertionError("the worker does not run")

    return wait


def refused(compiler, text=FINE):
    with pytest.raises(BackendError) as error:
        compiler.compile(text, "mine.c")
    assert "\n" not in error.value.message
    return error.value


# What a worker may do instead of answering.


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "print('it will not do'); sys.stdout.flush(); os._exit(7)",
            "ended with status 7 and no answer: it will not do",
        ),
        (
            "sys.stderr.write('gone\\n\\n'); sys.stderr.flush(); os._exit(0)",
            "ended with status 0 and no answer: gone",
        ),
        ("sys.exit('not today')", "ended with status 1 and no answer: not today"),
        (
            "raise ImportError('no libbcc.so.0')",
            "ended with status 1 and no answer: ImportError: no libbcc.so.0",
        ),
        ("os._exit(0)", "ended with status 0 and no answer"),
        ("import ctypes; ctypes.string_at(0)", "was ended by signal 11 (Segmentation fault)"),
        ("os.kill(os.getpid(), 64)", "was ended by signal 64 (Real-time signal 30)"),
        ("os.write(int(sys.argv[1]), b'{\"license\":'); os._exit(0)", "ended with status 0 and no answer"),
    ],
)
def test_a_worker_that_does_not_answer_is_an_error_with_its_last_words(fake, code, said):
    error = refused(fake(code))
    assert error.message == f"backend 'bcc': the worker that compiles mine.c {said}"
    assert "ebpf-bot doctor" in error.hint


def test_all_that_it_said_is_the_log(fake):
    error = refused(
        fake("print('one'); print('\\udcff two', file=sys.stderr); sys.stdout.write('three'); sys.exit(3)")
    )
    assert {"one", "three"} <= set(error.log.split())


def test_a_worker_that_is_killed_while_it_compiles_is_an_error(fake, worker):
    compiler = fake("time.sleep(600)")
    killer = threading.Thread(target=lambda: os.kill(worker(), signal.SIGKILL))
    killer.start()
    assert "was ended by signal 9 (Killed)" in refused(compiler).message
    killer.join()


def test_a_worker_that_takes_too_long_is_ended(fake, worker, monkeypatch):
    monkeypatch.setattr(asking, "_SECONDS", 1)
    assert "mine.c had not ended after 1 s" in refused(fake("time.sleep(600)")).message
    with pytest.raises(ProcessLookupError):
        os.kill(worker(), 0)


def test_an_interruption_ends_the_worker(fake, worker):
    def interrupt(*_):
        raise KeyboardInterrupt

    compiler = fake("time.sleep(600)")
    before = signal.signal(signal.SIGALRM, interrupt)
    interrupter = threading.Thread(target=lambda: (worker(), os.kill(os.getpid(), signal.SIGALRM)))
    interrupter.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            compiler.compile(FINE, "mine.c")
        interrupter.join()
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(worker(), 0)


def test_a_worker_inherits_no_descriptor_of_ours(fake):
    held = os.open("/", os.O_PATH)
    os.set_inheritable(held, True)
    error = refused(fake(f"sys.exit(os.path.exists('/proc/self/fd/{held}'))"))
    os.close(held)
    assert "ended with status 0" in error.message


@pytest.mark.parametrize("text", ["#include <a.h>\n#include <a.h/b.h>", f"#include <{'a' * 300}.h>"])
def test_includes_that_can_be_no_files_are_an_error(compiler, text):
    assert "mine.c cannot be handed to BCC: " in refused(compiler, f"{text}\n{FINE}").message


def test_without_room_for_its_files_there_is_an_error(compiler, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    error = refused(Compiler(), FINE)
    assert "mine.c cannot be handed to BCC: " in error.message
    assert "TMPDIR" in error.hint


# BCC itself.


@pytest.mark.live
def test_the_first_error_of_the_compiler_is_told_with_its_line(compiler):
    error = refused(compiler, "int f(void *ctx) {\n  return x;\n}\nint g(void *ctx) { return y; }\n")
    assert error.message == "backend 'bcc': mine.c:2: use of undeclared identifier 'x' (and 1 more)"
    assert "undeclared identifier 'y'" in error.log


@pytest.mark.live
def test_a_line_that_is_shown_with_tabs_is_the_sources(compiler):
    error = refused(compiler, "int f(void *ctx)\n{\n\tint a = 0;\n\treturn a +\tx;\n}\n")
    assert error.message == "backend 'bcc': mine.c:4: use of undeclared identifier 'x'"


@pytest.mark.live
def test_a_line_of_what_bcc_made_of_the_source_is_not_told_as_the_sources(compiler):
    error = refused(
        compiler, "BPF_HASH(seen, u32);\nint f(void *ctx) {\n  u32 k = 0;\n  return *seen.lookup(&k);\n}\n"
    )
    assert error.message.startswith("backend 'bcc': mine.c: returning 'void' from a function")


@pytest.mark.live
def test_an_error_in_a_header_of_the_users_is_told_with_the_headers_name(compiler, tmp_path):
    (tmp_path / "mine.h").write_text("\n\nint broken(;\n")
    with pytest.raises(BackendError) as error:
        compiler.compile(f'#include "mine.h"\n{FINE}', "mine.c", [f"-I{tmp_path}"])
    assert error.value.message.startswith(f"backend 'bcc': {tmp_path}/mine.h:3: ")


@pytest.mark.live
def test_the_same_text_is_compiled_once(monkeypatch):
    asked = []
    ask = compiling.ask
    monkeypatch.setattr(compiling, "ask", lambda *args: asked.append(1) or ask(*args))
    compiler = Compiler()
    first = compiler.compile(FINE, "mine.c")
    assert compiler.compile(FINE, "other.c") is first
    assert len(asked) == 1
    with_flag = compiler.compile("int f(void *ctx) { return X; }", "mine.c", ["-DX=5"])
    assert compiler.compile("int f(void *ctx) { return X; }", "mine.c", ["-DX=6"]) is not with_flag
    assert len(asked) == 3


def test_what_failed_is_tried_again(fake, tmp_path):
    compiler = fake(f"os.path.exists({str(tmp_path / 'mended')!r}) or sys.exit('broken')\nsys.exit('mended')")
    assert "broken" in refused(compiler).message
    (tmp_path / "mended").touch()
    assert "mended" in refused(compiler).message


@pytest.mark.live
def test_what_is_compiled_is_described(compiler):
    text = """
    BPF_HASH(seen, u32, u64, 77);
    BPF_PERF_OUTPUT(events);
    struct mine { u32 number; char text[8]; };
    int on_hit(struct pt_regs *ctx)
    {
        struct mine v = {};
        u32 zero = 0;
        seen.increment(zero);
        events.perf_submit(ctx, &v, sizeof(v));
        return 0;
    }
    RAW_TRACEPOINT_PROBE(sys_enter) { return 0; }
    """
    compiled = compiler.compile(text, "mine.c")
    assert set(compiled.functions) == {"on_hit", "raw_tracepoint__sys_enter"}
    kinds = {kind.name: (kind.type, kind.key_size, kind.value_size) for kind in compiled.maps}
    assert kinds == {"seen": (1, 4, 8), "events": (4, 4, 4)}
    assert next(kind.max_entries for kind in compiled.maps if kind.name == "seen") == 77
    assert compiled.events["events"] == (("number", "u32"), ("text", "char[8]"))
    assert compiled.license == "GPL"


@pytest.mark.live
def test_a_licence_is_the_sources(compiler):
    assert compiler.compile(f"#define BPF_LICENSE Dual BSD/GPL\n{FINE}", "mine.c").license == "Dual BSD/GPL"
