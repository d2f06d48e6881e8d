"""Sources that cannot work: one clear line each, before anything is attached, and nothing stays open."""

from __future__ import annotations

import os
import resource

import numpy as np
import pytest
from ebpf_bot_bcc.options import BccOptions
from ebpf_bot_bcc.source import injector as injector_module
from ebpf_bot_bcc.source import loading
from ebpf_bot_bcc.source.injector import SourceInjector
from ebpf_bot_linux import KernelError, syscalls

from ebpf_bot_core import BackendError, EbpfBotError, Mode, PlanError, ProbePattern, ProbeTable, Scope

pytestmark = pytest.mark.live

SWITCH = "rawtracepoint:sched_switch"
CODE = "uprobe:{target}:work"
EVENTS = """
struct mine { u64 number; };
BPF_PERF_OUTPUT(events);
BPF_RINGBUF_OUTPUT(ring, 8);
BPF_HASH(seen, u32);
int f(void *ctx)
{
    struct mine v = { 5 };
    events.perf_submit(ctx, &v, sizeof(v));
    ring.ringbuf_output(&v, sizeof(v), 0);
    return 0;
}
"""

UNCHECKED = "BPF_HASH(seen, u32); int f(void *ctx) { u32 k = 0; u64 *v = seen.lookup(&k); return *v; }"


@pytest.fixture
def target(build):
    return build("volatile int x; __attribute__((noinline)) void work(void) { x++; } int main() { work(); }")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of all sources: what is compiled with the same options is compiled once."""
    return tmp_path_factory.mktemp("sources")


@pytest.fixture
def make(compiler, folder, target):
    """An injector for a source whose function `f` is attached to something."""
    made = []

    def make(source, probe=SWITCH, **options):
        file = folder / "mine.c"
        if isinstance(source, bytes):
            file.write_bytes(source)
        else:
            file.write_text(source)
        attach = {"f": probe.format(target=target)}
        made.append(SourceInjector(BccOptions(str(file), attach, **options), compiler=compiler))
        return made[-1]

    yield make
    for injector in made:
        injector.close()


def find(injector):
    patterns = injector._chosen.attach["f"]
    return injector.find([ProbePattern.parse(pattern) for pattern in patterns])


def open_(injector, mode=Mode.STREAM):
    return injector.open(find(injector).probes, scope=Scope.COMMAND, mode=mode, keep=True)


def refusal(injector):
    with pytest.raises(EbpfBotError) as error:
        open_(injector)
    assert "\n" not in error.value.message
    assert "mine.c" in error.value.message
    return error.value


def held():
    """What of the kernel's this process holds."""
    with open("/proc/self/maps", encoding="ascii") as maps:
        mapped = sum("anon_inode:" in line or "bpf-map" in line for line in maps)
    return len(os.listdir("/proc/self/fd")), mapped


# What a source may not have.


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "BPF_PROG_ARRAY(t, 4); int f(void *ctx) { t.call(ctx, 0); return 0; }",
            "map t of mine.c is a table of programs",
        ),
        (
            'BPF_ARRAY(in, u32, 4); BPF_HASH_OF_MAPS(out, u32, "in", 4); int f(void *ctx) { return 0; }',
            "map out of mine.c is a hash of maps",
        ),
        (
            'BPF_ARRAY(in, u32, 4); BPF_ARRAY_OF_MAPS(out, "in", 4); int f(void *ctx) { return 0; }',
            "map out of mine.c is an array of maps",
        ),
        (
            "BPF_CGROUP_ARRAY(groups, 1); int f(void *ctx) { return groups.check_current_task(0); }",
            "map groups of mine.c is of type 8",
        ),
    ],
)
def test_maps_that_the_authors_tool_would_fill_are_named(make, source, said):
    error = refusal(make(source))
    assert isinstance(error, PlanError)
    assert said in error.message


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe", "cannot be read"), (None, "cannot be read: [Errno 2]")],
)
def test_a_file_that_cannot_be_read_is_named(make, folder, content, said):
    injector = make(content or "")
    if content is None:
        (folder / "mine.c").unlink()
    assert said in refusal(injector).message


def test_a_source_without_functions_says_so(make):
    assert "mine.c has no function 'f'" in refusal(make("static int f(void) { return 0; }")).message


# What the verifier says.


@pytest.mark.parametrize(
    ("source", "probe", "said"),
    [
        (UNCHECKED, SWITCH, "invalid mem access"),
        ("int f(void *ctx) { while (1); }", SWITCH, "infinite loop"),
        ("int f(void *ctx) { __builtin_unreachable(); }", SWITCH, "last insn is not an exit or jmp"),
        ("static int n; int f(void *ctx) { return n++; }", SWITCH, "invalid mem access"),
        ("int f(struct pt_regs *ctx) { return PT_REGS_IP(ctx); }", SWITCH, "invalid bpf_context access"),
        ("int f(void *ctx) { return bpf_skb_pull_data(ctx, 8); }", SWITCH, "bpf_skb_pull_data"),
        ("int f(void *ctx) { return bpf_skb_pull_data(ctx, 8); }", CODE, "bpf_skb_pull_data"),
        (UNCHECKED, CODE, "invalid mem access"),
        (
            '#define BPF_LICENSE Proprietary\nint f(void *ctx) { bpf_trace_printk("x"); return 0; }',
            SWITCH,
            "GPL",
        ),
    ],
)
def test_what_the_verifier_says_is_the_error(make, source, probe, said):
    injector = make(source, probe)
    before = held()
    with pytest.raises(BackendError) as error:
        open_(injector)
    assert error.value.message.startswith("backend 'bcc': the kernel's verifier rejects f of mine.c: ")
    assert said in error.value.message
    assert "\n" not in error.value.message
    assert said in error.value.log
    assert held() == before


@pytest.mark.parametrize("probe", [SWITCH, CODE])
@pytest.mark.parametrize(
    "source",
    [
        "int f(void *ctx) { }",
        "void f(void *ctx) { }",
        "#define BPF_LICENSE Proprietary\nint f(void *ctx) { return 0; }",
    ],
)
def test_what_returns_nothing_or_is_not_free_works_all_the_same(make, probe, source):
    with open_(make(source, probe)) as injection:
        (row,) = injection.attach(np.array([0]))
        assert row.detail == ""
        assert row.verdict.name == "SILENT"


# Nothing stays open.


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("probe", [SWITCH, CODE])
def test_closing_gives_everything_back(make, probe, mode):
    injector = make(EVENTS, probe)
    find(injector)
    before = held()
    for _ in range(2):
        injection = open_(injector, mode)
        injection.attach(np.array([0]))
        injection.close()
        injection.close()
    assert held() == before


@pytest.mark.parametrize("place", ["PerfBuffer", "RingBuffer", "EventSource", "Programs", "SourceLoader"])
def test_an_error_on_the_way_gives_everything_back(make, monkeypatch, place):
    injector = make(EVENTS, CODE)
    find(injector)
    before = held()

    def fails(*args, **how):
        raise KernelError(f"make a {place}", 12)

    monkeypatch.setattr(injector_module, place, fails)
    with pytest.raises(BackendError, match=f"cannot make a {place}"):
        open_(injector)
    assert held() == before


@pytest.mark.parametrize("asked", range(3))
def test_a_map_that_cannot_be_made_gives_everything_back(make, monkeypatch, asked):
    injector = make(EVENTS, CODE)
    find(injector)
    before = held()
    create, names = syscalls.create_map, ["events", "ring", "seen"]

    def all_but_one(*args, name=b"", **how):
        if name.decode() == names[asked]:
            raise KernelError(f"create the map {name.decode()}", 12)
        return create(*args, name=name, **how)

    monkeypatch.setattr(syscalls, "create_map", all_but_one)
    with pytest.raises(BackendError, match=f"cannot create the map {names[asked]}"):
        open_(injector)
    assert held() == before


def test_the_plugins_programs_are_closed_where_the_sources_maps_cannot_be_made(make, monkeypatch):
    injector = make(EVENTS, CODE)
    find(injector)
    before = held()

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "create_maps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_(injector)
    assert held() == before


def test_a_buffer_that_has_descriptor_0_is_that_probes_buffer(make, monkeypatch):
    """Where standard input is closed, the first thing that is opened is number 0."""
    made = []

    class Watched(loading.SourceObject):
        def _shared(self, kind):
            made.append(kind.name)
            return super()._shared(kind)

    monkeypatch.setattr(loading, "SourceObject", Watched)
    injector = make(EVENTS, CODE)
    find(injector)
    stdin = os.dup(0)
    os.close(0)
    try:
        open_(injector).close()
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
    assert made == []


def test_too_many_probes_with_buffers_are_refused_before_any_is_made(make, build, monkeypatch):
    functions = [f"work_{i}" for i in range(65)]
    text = "\n".join(f"__attribute__((noinline)) void {name}(void) {{ x++; }}" for name in functions)
    calls = " ".join(f"{name}();" for name in functions)
    many = build(f"volatile int x;\n{text}\nint main() {{ {calls} }}", name="many")
    injector = make(EVENTS, f"uprobe:{many}:work_*")
    probes = find(injector).probes
    assert len(probes) == 65
    monkeypatch.setattr(injector_module, "create_maps", None)
    with pytest.raises(PlanError, match="more than 64 probes write to buffers"):
        open_(injector)
    monkeypatch.undo()
    open_(injector, Mode.COUNT).close()
    fewer = ProbeTable(probes.names[:64])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    injector.open(fewer, scope=Scope.COMMAND, mode=Mode.STREAM, keep=True).close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_headers_are_looked_for_from_where_the_bot_runs(make, folder, monkeypatch):
    (folder / "more").mkdir()
    (folder / "more" / "limits_of_mine.h").write_text("#define LIMIT 5\n")
    monkeypatch.chdir(folder)
    source = '#include "limits_of_mine.h"\nint f(void *ctx) { return LIMIT; }'
    injector = make(source, cflags=("-Imore",))
    assert len(injector.find([ProbePattern.parse(SWITCH)])) == 1
