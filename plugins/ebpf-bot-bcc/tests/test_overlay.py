"""Headers for one source: empty ones for what it includes, and its own types in the place of the kernel's."""

from __future__ import annotations

import pytest
from ebpf_bot_bcc.overlay import missing_headers, own_types


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "include" / "linux").mkdir(parents=True)
    (tmp_path / "include" / "linux" / "sched.h").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("#include <net/sock.h>\n  #  include\t<uapi/linux/ptrace.h>", {"net/sock.h", "uapi/linux/ptrace.h"}),
        ('#include "mine.h"', {"mine.h"}),
        ("#include <linux/sched.h>", set()),
        ("#include <bcc/proto.h>", set()),
        ("// #include <net/sock.h>", set()),
        ('char *s = "#include <net/sock.h>";', set()),
        ("#include MACRO", set()),
        ("", set()),
    ],
)
def test_what_is_missing_is_what_is_included_and_not_there(folder, text, missing):
    assert missing_headers(text, folder) == missing


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/cron.d/x.h",
        "..",
        "a/../../x.h",
        "/etc/x.h",
        "//etc/x.h",
        "linux/../../../x.h",
        "~/x.h",
        "a\\b.h",
    ],
)
def test_no_include_leads_out_of_the_folder(folder, name):
    assert missing_headers(f'#include <{name}>\n#include "{name}"', folder) == set()


KERNEL = """
struct key {
	int serial;
};

enum state {
	RUNNING = 0,
};

typedef unsigned int u32;

typedef struct {
	int counter;
} atomic_t;

struct other {
	struct key *key;
};
"""


@pytest.mark.parametrize(
    ("source", "own"),
    [
        ("struct key { u32 pid; };", {"key"}),
        ("struct key\n{ u32 pid; };\nenum state { ON };", {"key", "state"}),
        ("typedef struct { u32 a; } atomic_t;", {"atomic_t"}),
        ("typedef struct key { u32 a; } atomic_t;", {"atomic_t", "key"}),
        ("int f(struct key *key) { return key->serial; }", set()),
        ("struct mine { u32 pid; };", set()),
        ("/* struct key { */ // struct other {", set()),
        ("struct keys { u32 a; };", set()),
    ],
)
def test_which_types_are_the_sources_own(source, own):
    assert own_types(source, KERNEL) == own


@pytest.mark.live
def test_a_source_may_call_its_structs_as_the_kernel_does(compiler):
    source = """
    #include <linux/sched.h>
    struct key { u32 pid; char comm[16]; };
    struct path { char name[32]; };
    BPF_HASH(seen, struct key, u64);
    int f(struct pt_regs *ctx)
    {
        struct key key = { .pid = bpf_get_current_pid_tgid() };
        struct path path = {};
        struct task_struct *task = (struct task_struct *)bpf_get_current_task();
        key.comm[0] = task->tgid + path.name[3];
        seen.increment(key);
        return 0;
    }
    """
    compiled = compiler.compile(source, "mine.c")
    assert {each.name: each.key_size for each in compiled.maps} == {"seen": 20}
