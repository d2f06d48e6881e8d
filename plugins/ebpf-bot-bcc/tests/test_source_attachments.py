"""Which function serves which probe: by the plan, by its name, and never two."""

from __future__ import annotations

import fnmatch
import logging

import pytest
from ebpf_bot_bcc.source.attachments import Attachments, requested

from ebpf_bot_core import Evidence, PatternError, PlanError, ProbePattern, Reason, Verdict

LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
CRYPTO = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"
HERE = [
    f"uprobe:{LIBC}:malloc",
    f"uprobe:{LIBC}:free",
    f"uretprobe:{LIBC}:malloc",
    f"uprobe:{CRYPTO}:EVP_DigestInit",
    f"usdt:{LIBC}:libc:setjmp",
    f"usdt:{LIBC}:libc:longjmp",
    "tracepoint:sched:sched_switch",
    "tracepoint:sched:sched_wakeup",
    "kprobe:vfs_read",
    "kprobe:vfs_write",
    "kretprobe:vfs_read",
    "software:page-faults:100",
]
BY_NAME = {"libc": LIBC, "libcrypto": CRYPTO}


def find(patterns):
    """A host with those probes, as a finder shows it."""
    found = Evidence.stating(())
    for pattern in patterns:
        target = BY_NAME.get(pattern.target, pattern.target)
        wanted = str(ProbePattern(pattern.kind, target, pattern.name))
        names = [name for name in HERE if fnmatch.fnmatchcase(name, wanted)]
        if pattern.is_exact and not names:
            names_not = [(wanted, Verdict.MISSING, Reason.NOT_FOUND, "no such thing")]
            found = found.join(Evidence.stating(names_not))
        found = found.join(Evidence.stating([(name, Verdict.PENDING, Reason.NONE, "") for name in names]))
    return found


def parse(*patterns):
    return [ProbePattern.parse(pattern) for pattern in patterns]


def attached(**attach):
    wanted = {function: parse(*patterns.split()) for function, patterns in attach.items()}
    return Attachments.of("mine.c", wanted, find)


# What a plan and names ask for.


def texts(wanted):
    return {function: [str(pattern) for pattern in patterns] for function, patterns in wanted.items()}


def test_what_the_plan_gives_goes_before_what_a_name_asks_for():
    wanted = requested(
        ["kprobe__vfs_read", "kprobe__vfs_write", "f"],
        {"kprobe__vfs_read": ("kprobe:vfs_open",), "f": ("uprobe:libc:malloc", "uprobe:libc:free")},
        "mine.c",
    )
    assert texts(wanted) == {
        "kprobe__vfs_read": ["kprobe:vfs_open"],
        "kprobe__vfs_write": ["kprobe:vfs_write"],
        "f": ["uprobe:libc:malloc", "uprobe:libc:free"],
    }


def test_a_function_that_is_attached_to_nothing_is_named(caplog):
    with caplog.at_level(logging.WARNING):
        assert texts(requested(["f", "kprobe__g"], {}, "mine.c")) == {"f": [], "kprobe__g": ["kprobe:g"]}
    assert [record.getMessage() for record in caplog.records] == [
        "mine.c: f is attached to nothing; give it a probe: attach = { f = ... }"
    ]


@pytest.mark.parametrize(
    ("functions", "attach", "message", "hint"),
    [
        (["f"], {"g": ("kprobe:x",)}, "mine.c has no function 'g'", "its functions: f; static"),
        ([], {"g": ("kprobe:x",)}, "mine.c has no function 'g'", "its functions: none"),
        (["f"], {}, "nothing of mine.c is attached to anything", "attach"),
        ([], {}, "nothing of mine.c is attached to anything", "attach"),
        (
            ["f"],
            {"f": ("syscall:openat",)},
            "f of mine.c cannot be attached to a syscall: probe",
            "sys_enter",
        ),
        (["f"], {"f": ("kprobe:x", "syscall:*")}, "f of mine.c cannot be attached to a syscall: probe", ""),
    ],
)
def test_what_cannot_be_is_an_error(functions, attach, message, hint):
    with pytest.raises(PlanError) as error:
        requested(functions, attach, "mine.c")
    assert message in error.value.message
    assert hint in error.value.hint


def test_a_pattern_that_cannot_be_read_is_an_error():
    with pytest.raises(PatternError, match="unknown kind 'kprob'"):
        requested(["f"], {"f": ("kprob:x",)}, "mine.c")


# Finding them.


def test_each_probe_is_served_by_the_function_that_asked_for_it():
    probes = attached(f="uprobe:libc:*", g="kprobe:vfs_read kretprobe:vfs_read", h="")
    assert dict(probes.function_of) == {
        f"uprobe:{LIBC}:malloc": "f",
        f"uprobe:{LIBC}:free": "f",
        "kprobe:vfs_read": "g",
        "kretprobe:vfs_read": "g",
    }
    assert {row.verdict for row in probes.found} == {Verdict.PENDING}


def test_a_probe_that_one_function_asks_for_twice_is_served_once():
    assert len(attached(f=f"uprobe:libc:malloc uprobe:{LIBC}:m*").function_of) == 1


def test_a_probe_that_is_not_on_this_host_says_so():
    rows = {row.probe: (row.verdict, row.reason) for row in attached(f="kprobe:gone kprobe:vfs_read").found}
    assert rows == {
        "kprobe:gone": (Verdict.MISSING, Reason.NOT_FOUND),
        "kprobe:vfs_read": (Verdict.PENDING, Reason.NOT_EXAMINED),
    }


def test_two_functions_cannot_serve_one_probe():
    with pytest.raises(PlanError, match=r"f and g of mine\.c are both attached to kprobe:vfs_read") as error:
        attached(f="kprobe:vfs_*", g="kprobe:vfs_read")
    assert "attach" in error.value.hint


# Which of them a plan expects.


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("uprobe:libc:malloc", [f"uprobe:{LIBC}:malloc"]),
        (f"uprobe:{LIBC}:malloc", [f"uprobe:{LIBC}:malloc"]),
        ("uprobe:libc:*", [f"uprobe:{LIBC}:free", f"uprobe:{LIBC}:malloc"]),
        ("uprobe:libc:m*", [f"uprobe:{LIBC}:malloc"]),
        ("uprobe:*:malloc", [f"uprobe:{LIBC}:malloc"]),
        (
            "uprobe:libc*:*",
            [f"uprobe:{CRYPTO}:EVP_DigestInit", f"uprobe:{LIBC}:free", f"uprobe:{LIBC}:malloc"],
        ),
        ("uprobe:libcr*:*", [f"uprobe:{CRYPTO}:EVP_DigestInit"]),
        ("uprobe:/usr/lib/*/libc.so*:*", [f"uprobe:{LIBC}:free", f"uprobe:{LIBC}:malloc"]),
        ("usdt:libc:libc:*", [f"usdt:{LIBC}:libc:longjmp", f"usdt:{LIBC}:libc:setjmp"]),
        ("usdt:*:*:set*", [f"usdt:{LIBC}:libc:setjmp"]),
        ("tracepoint:sched:*", ["tracepoint:sched:sched_switch"]),
        ("tracepoint:*:sched_switch", ["tracepoint:sched:sched_switch"]),
        ("tracepoint:*:*", ["tracepoint:sched:sched_switch"]),
        ("kprobe:vfs_[rw]*", ["kprobe:vfs_read", "kprobe:vfs_write"]),
        ("software:*:100", ["software:page-faults:100"]),
    ],
)
def test_a_pattern_stands_for_those_that_are_served(pattern, names):
    probes = attached(
        f="uprobe:libc:*",
        g="uprobe:libcrypto:*",
        u=f"usdt:{LIBC}:libc:*",
        t="tracepoint:sched:sched_switch",
        k="kprobe:vfs_*",
        s="software:page-faults:100",
    )
    matching = probes.matching(parse(pattern), find)
    assert set(matching.probes) == set(names)
    assert {row.verdict for row in matching} == {Verdict.PENDING}


@pytest.mark.parametrize(
    ("pattern", "probe", "verdict", "said"),
    [
        ("kprobe:vfs_write", "kprobe:vfs_write", Verdict.REFUSED, "mine.c has no function for it"),
        ("uprobe:libc:malloc", f"uprobe:{LIBC}:malloc", Verdict.REFUSED, "mine.c has no function for it"),
        ("kprobe:gone", "kprobe:gone", Verdict.MISSING, "no such thing"),
        ("kretprobe:vfs_*", "kretprobe:vfs_*", Verdict.REFUSED, "no function of mine.c serves such a probe"),
        ("uprobe:libc:*", "uprobe:libc:*", Verdict.REFUSED, "no function of mine.c serves such a probe"),
    ],
)
def test_what_none_of_the_functions_serves_says_so(pattern, probe, verdict, said):
    (row,) = attached(f="kprobe:vfs_read").matching(parse(pattern), find)
    assert (row.probe, row.verdict) == (probe, verdict)
    assert said in row.detail
    assert row.reason is (Reason.NOT_FOUND if verdict is Verdict.MISSING else Reason.NO_BACKEND)


def test_several_patterns_make_one_table_in_which_each_stands_once():
    probes = attached(f="kprobe:vfs_*")
    matching = probes.matching(parse("kprobe:vfs_read", "kprobe:*", "kprobe:gone"), find)
    assert sorted(matching.probes) == ["kprobe:gone", "kprobe:vfs_read", "kprobe:vfs_write"]


def test_an_empty_list_leaves_a_function_out(caplog):
    wanted = requested(["kprobe__f", "kprobe__g"], {"kprobe__f": ()}, "mine.c")
    assert wanted == {"kprobe__f": (), "kprobe__g": (ProbePattern.parse("kprobe:g"),)}
    assert not caplog.records
