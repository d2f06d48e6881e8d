"""Chosen sites: a function that is probed behind its entry is counted exactly as at its entry, whatever its shape."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
from ebpf_bot_linux.finding.chosen_sites import _has_shadow_stacks
from ebpf_bot_linux.points import FunctionPoint
from ebpf_bot_linux.sites import Sites

from ebpf_bot_core import Mode, ProbePattern, Reason, Verdict

pytestmark = pytest.mark.live

CALLED = 7
ARGUMENT = 3
AFTER_CALL = 0 if _has_shadow_stacks() else 4

SHAPES = {
    # name: (code, how far behind its entry it is probed; None where it cannot be probed at all)
    "push": ("push %rbp; pop %rbp; ret", 0),
    "marked": ("endbr64; push %rbp; pop %rbp; ret", 4),
    "high_register": ("endbr64; push %r12; pop %r12; ret", 4),
    "wide_push": ("endbr64; .byte 0x48, 0x55; pop %rbp; ret", 0),
    "nop": ("mov %rdi, %rax; nop; ret", 3),
    "condition": ("mov %rdi, %rax; test %rax, %rax; jz 1f; inc %rax; 1: ret", 6),
    "long_condition": ("mov %rdi, %rax; test %rax, %rax; {disp32} jz 1f; inc %rax; 1: ret", 6),
    "call": ("sub $8, %rsp; call leaf; add $8, %rsp; ret", AFTER_CALL),
    "tail_call": ("mov %rdi, %rax; jmp leaf", 3),
    "canary": ("sub $8, %rsp; mov %fs:0x28, %rax; push %rax; pop %rcx; add $8, %rsp; ret", 13),
    "nothing_cheap": ("mov %rdi, %rax; ret", 0),
    "may_fault": ("mov (%rsp,%rdi,8), %rax; push %rax; pop %rax; ret", 0),
    "loop": ("mov %rdi, %rcx; 1: dec %rcx; jnz 1b; ret", 0),
    "long_loop": ("mov %rdi, %rcx; 1: dec %rcx; {disp32} jnz 1b; ret", 0),
    "counted_loop": ("mov %rdi, %rcx; 1: push %rax; pop %rax; loop 1b; ret", 0),
    "loop_of_itself": ("1: dec %rdi; jnz 1b; ret", 3),
    "recursive": ("dec %rdi; js 1f; sub $8, %rsp; call recursive; add $8, %rsp; 1: ret", 3),
    "far_loop": ("mov %rdi, %rcx; 1: dec %rcx; js 2f; .fill 100, 1, 0x90; jmp 1b; 2: ret", 0),
    "entered": ("mov %rdi, %rax; .globl entered_at; entered_at: push %rax; pop %rax; ret", 0),
    "enters": ("mov %rdi, %rax; jmp .Lfar; .Lfar: {disp32} jmp .Lentered_too", 3),
    "entered_too": ("mov %rdi, %rax; .Lentered_too: push %rax; pop %rax; ret", 0),
    "calls_into": ("sub $8, %rsp; call .Lcalled; add $8, %rsp; ret", AFTER_CALL),
    "called_into": ("mov %rdi, %rax; .Lcalled: push %rax; pop %rax; ret", 0),
    "jumps_next": ("test %rdi, %rdi; jnz .Lnext; ret", 3),
    "next": ("mov %rdi, %rax; .Lnext: push %rax; pop %rax; ret", 0),
    "shares_tail": ("test %rdi, %rdi; jnz .Ltail; ret", 3),
    "has_tail": ("mov %rdi, %rax; test %rax, %rax; jz .Ltail; inc %rax; .Ltail: ret", 6),
    "computed": ("mov %rdi, %rcx; 1: dec %rcx; js 2f; lea 1b(%rip), %rdx; jmp *%rdx; 2: ret", 0),
    "by_table": ("mov %rdi, %rcx; .Lback: dec %rcx; js 2f; jmp *table(%rip); 2: ret", 0),
    "cold": ("mov %rdi, %rcx; .Lcold: dec %rcx; js 2f; jmp cold.cold; 2: ret", 0),
    "cold_computed": ("mov %rdi, %rcx; .Lwarm: dec %rcx; js 2f; jmp cold_computed.cold; 2: ret", 0),
    "data_in_code": ("mov %rdi, %rax; 1: dec %rax; js 2f; jmp 3f; .byte 0x48, 0xb8; 3: jmp 1b; 2: ret", 0),
    "overlapped": (
        "mov %rdi, %rax; .globl inside; .type inside, @function; inside: push %rax; pop %rax; ret",
        0,
    ),
    "locked": ("lock incl counter(%rip); push %rbp; pop %rbp; ret", 7),
    "locked_only": ("lock incl counter(%rip); mov %rdi, %rax; ret", 7),
    "locked_twice": ("lock incl counter(%rip); lock decl counter(%rip); ret", 14),
    "locked_loop": ("lock incl counter(%rip); 1: dec %rdi; jnz 1b; ret", None),
    "locked_over": ("lock incl counter(%rip); push %rbp; pop %rbp; ret", None),
    "locked_like_computed": ("lock incl counter(%rip); mov $0xe0ff, %eax; ret", 7),
    "locked_and_computed": ("lock incl counter(%rip); lea leaf(%rip), %rax; jmp *%rax", None),
    "skips_lock": ("mov %rdi, %rax; jmp locked_over + 1", 3),
}
SOURCE = """
    .data
    counter: .long 0
    table: .quad .Lback
    .text
    leaf: ret
    {functions}
    .globl sizeless
    .type sizeless, @function
    sizeless: mov %rdi, %rax
    push %rax
    pop %rax
    ret
    .section .text.unlikely, "ax"
    .type cold.cold, @function
    cold.cold: jmp .Lcold
    .size cold.cold, .-cold.cold
    .type cold_computed.cold, @function
    cold_computed.cold: lea .Lwarm(%rip), %rdx
    jmp *%rdx
    .size cold_computed.cold, .-cold_computed.cold
    .section .note.GNU-stack,"",@progbits
"""
NAMES = [*SHAPES, "sizeless", "inside", "entered_at"]


@pytest.fixture
def shapes(build, tmp_path):
    """A program that calls each of the functions seven times."""
    functions = "\n".join(
        f".globl {name}\n.type {name}, @function\n{name}: {code}\n.size {name}, .-{name}"
        for name, (code, _) in SHAPES.items()
    )
    # Symbols of jump targets would end the entry block by themselves; `.L` keeps them out of the table.
    (tmp_path / "shapes.s").write_text(SOURCE.format(functions=functions))
    declared = "\n".join(f"void {name}(long);" for name in NAMES)
    calls = "\n".join(f"for (int i = 0; i < {CALLED}; i++) {name}({ARGUMENT});" for name in NAMES)
    return build(f"{declared}\nint main(void) {{ {calls} return 0; }}", str(tmp_path / "shapes.s"), "-no-pie")


def point_of(bench, binary, name):
    (point,) = bench.injector._finder.points([f"uprobe:{binary}:{name}"])
    return point


def test_where_each_shape_is_probed(bench, shapes):
    bench.injector.find([ProbePattern.parse(f"uprobe:{shapes}:*")])
    entries = {name: entry for entry, name in entries_of(shapes)}
    placed = {}
    for name in SHAPES:
        point = point_of(bench, shapes, name)
        placed[name] = point.sites[0] - entries[name] if isinstance(point, FunctionPoint) else None
    assert placed == {name: where for name, (_, where) in SHAPES.items()}
    assert point_of(bench, shapes, "sizeless").moved == 0


def entries_of(binary):
    """Return (file offset, name) of the functions of a program that is linked at a fixed address."""
    listed = subprocess.run(["nm", binary], check=True, stdout=subprocess.PIPE, text=True, timeout=20).stdout
    symbols = [line.split() for line in listed.splitlines() if len(line.split()) == 3]
    headers = subprocess.run(
        ["readelf", "-lW", binary], check=True, stdout=subprocess.PIPE, text=True, timeout=20
    ).stdout
    load = next(
        line.split()
        for line in headers.splitlines()
        if "LOAD" in line and " E " in line.replace("R E", " E ")
    )
    shift = int(load[2], 16) - int(load[1], 16)
    return [(int(address, 16) - shift, name) for address, _, name in symbols]


def test_every_shape_is_counted_as_at_its_entry(bench, shapes):
    names = [name for name in NAMES if name != "entered_at" and SHAPES.get(name, ("", 0))[1] is not None]
    with bench.trial(*(f"uprobe:{shapes}:{name}" for name in names)) as trial:
        assert set(trial.outcome.columns["verdict"]) == {Verdict.SILENT}
        assert trial.run(shapes).returncode == 0
        counted = dict(trial.hits())
    assert set(counted) == set(names)
    once_a_call = {name for name in SHAPES if "loop_of_itself" not in name and name != "recursive"}
    assert {name: counted[name] for name in counted if name in once_a_call} == {
        name: CALLED for name in names if name in once_a_call
    }
    assert counted["loop_of_itself"] == CALLED * ARGUMENT
    assert counted["recursive"] == CALLED * (ARGUMENT + 1)

    points = [point_of(bench, shapes, name) for name in names]
    at_entry = [
        (name, attrs.evolve(p, sites=p.offsets)) for name, p in zip(names, points, strict=True) if p.offsets
    ]
    with bench.open_points([point for _, point in at_entry]) as injection:
        injection.attach(np.arange(len(at_entry)))
        with injection.follow():
            process = subprocess.Popen([shapes])
        assert process.wait(20) == 0
        batch = bench.receiver.receive(injection, 0)
        by_entry = dict.fromkeys((name for name, _ in at_entry), 0)
        for record in batch.records:
            by_entry[at_entry[int(record["probe"])][0]] = int(record["count"])
    assert by_entry == {name: counted[name] for name, _ in at_entry}


def test_what_cannot_be_probed_anywhere_is_blind(bench, shapes):
    found = bench.injector.find([ProbePattern.parse(f"uprobe:{shapes}:locked*")])
    rows = {row.probe.rpartition(":")[2]: row for row in found}
    for name, row in rows.items():
        pending = SHAPES[name][1] is not None
        assert row.verdict is (Verdict.PENDING if pending else Verdict.BLIND)
        assert ("a later one" in row.detail) == pending
    returns = bench.injector.find([ProbePattern.parse(f"uretprobe:{shapes}:locked*")])
    assert {row.verdict for row in returns} == {Verdict.BLIND}
    assert {row.reason for row in returns} == {Reason.UNSUPPORTED_INSTRUCTION}


def test_the_outcome_says_where_it_is(bench, shapes):
    with bench.trial(
        f"uprobe:{shapes}:marked", f"uprobe:{shapes}:push", f"uretprobe:{shapes}:marked"
    ) as trial:
        details = {
            row.probe.partition(":")[0] + row.probe.rpartition(":")[2]: row.detail for row in trial.outcome
        }
        assert details["uprobemarked"].startswith("probed 4 bytes behind its entry")
        assert details["uprobepush"] == details["uretprobemarked"] == ""


def test_a_name_and_its_alias_share_a_site_and_functions_never_do(bench, build):
    binary = build(
        """
        __attribute__((noinline)) int one(int x) { asm volatile(""); return x; }
        int two(int) __attribute__((alias("one")));
        int main(void) { return one(0) + two(0) + two(0); }
        """,
        "-fcf-protection=full",
    )
    with bench.trial(f"uprobe:{binary}:one", f"uprobe:{binary}:two") as trial:
        trial.run(binary)
        assert trial.hits() == {"one": 3, "two": 3}
    for path in (binary, Path(sys.executable).resolve()):
        found = bench.injector.find([ProbePattern.parse(f"uprobe:{path}:*")])
        names = [row.probe for row in found if row.verdict is Verdict.PENDING]
        placed = {}
        for point in bench.injector._finder.points(names):
            if len(point.offsets) == len(point.sites):
                for entry, site in zip(point.offsets, point.sites, strict=True):
                    assert placed.setdefault(site, entry) == entry


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("uprobe:libcrypto:EVP_*", ["openssl", "dgst", "-sha256", "/etc/hostname"]),
        ("uprobe:libc:*mem*", ["/usr/bin/gzip", "-c", "/etc/hostname"]),
    ],
)
def test_real_programs_fire_the_same_probes_as_at_entries(bench, pattern, command):
    with bench.trial(pattern) as trial:
        trial.run(*command)
        chosen = {name for name, count in trial.hits().items() if count}
    found = bench.injector.find([ProbePattern.parse(pattern)])
    names = [row.probe for row in found if row.verdict is Verdict.PENDING]
    points = bench.injector._finder.points(names)
    assert any(point.moved for point in points)
    rows = [
        (name.rpartition(":")[2], attrs.evolve(p, sites=p.offsets))
        for name, p in zip(names, points, strict=True)
    ]
    rows = [(name, point) for name, point in rows if point.offsets]
    with bench.open_points([point for _, point in rows]) as injection:
        injection.attach(np.arange(len(rows)))
        with injection.follow():
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        process.wait(60)
        fired = {rows[row][0] for row in bench.receiver.receive(injection, 0).records["probe"].tolist()}
    assert len(fired) > 3
    assert chosen & {name for name, _ in rows} == fired


def test_other_modes_are_given_the_entries(bench, shapes):
    """Where arguments are wanted, a function is probed where they are."""
    point = point_of(bench, shapes, "marked")
    assert Sites.of([point], Mode.STREAM).groups[0].keys == point.offsets
    assert Sites.of([point], Mode.COUNT).groups[0].keys == point.sites != point.offsets
