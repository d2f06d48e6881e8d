"""Instructions on which the kernel cannot place a probe, or places one that would change the program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from ebpf_bot_linux.points import Binary, FunctionPoint
from elftools.elf.elffile import ELFFile

from ebpf_bot_core import ProbePattern, Reason, Verdict

pytestmark = pytest.mark.live

LOCKED = (0, 17, 18, 255, 256, 499)
MAIN = "int main(void) { return 0; }"


def locked_library(build):
    """Return a library of 500 functions, some of which begin with a `lock` prefix, which uprobes refuse."""
    functions = "\n".join(
        f".globl f{i:03d}\n.type f{i:03d}, @function\nf{i:03d}:\n"
        + ("lock incl counter(%rip)\n" if i in LOCKED else "push %rbp\npop %rbp\n")
        + f"ret\n.size f{i:03d}, .-f{i:03d}"
        for i in range(500)
    )
    source = f'.data\ncounter: .long 0\n.text\n{functions}\n.section .note.GNU-stack,"",@progbits\n'
    return build(source, "-shared", "-fPIC", name="liblocked.so", language="s")


@pytest.fixture
def offsets_of():
    """Return the points of functions by name, also of those that the finder knows to be refused by the kernel."""

    def points(binary, names):
        status = binary.stat()
        with binary.open("rb") as file:
            parsed = ELFFile(file)
            segments = [s for s in parsed.iter_segments("PT_LOAD") if s["p_flags"] & 1]
            address = {s.name: s["st_value"] for s in parsed.get_section_by_name(".symtab").iter_symbols()}
            code = segments[0]["p_offset"], segments[0]["p_filesz"]
            shift = segments[0]["p_offset"] - segments[0]["p_vaddr"]
        examined = Binary(
            str(binary), status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, (code,), None
        )
        return [FunctionPoint(examined, (address[name] + shift,), on_return=False) for name in names]

    return points


@pytest.mark.parametrize("mapped", [False, True], ids=["nobody maps it", "a process maps it"])
def test_those_that_cannot_be_probed_are_found_and_the_others_attached(bench, build, mapped, offsets_of):
    library = locked_library(build)
    user = build(
        "#include <unistd.h>\nint main(void) { read(0, (char[1]){0}, 1); return 0; }",
        str(library),
        name="user",
    )
    process = subprocess.Popen([user], stdin=subprocess.PIPE) if mapped else None
    try:
        with bench.open_points(offsets_of(library, [f"f{i:03d}" for i in range(500)])) as injection:
            outcome = injection.attach(np.arange(500))
            refused = np.flatnonzero(outcome.columns["verdict"] == Verdict.REFUSED)
            assert refused.tolist() == list(LOCKED)
            assert set(outcome.columns["reason"][refused]) == {Reason.UNSUPPORTED_INSTRUCTION}
            assert all("file offset 0x" in outcome.details[row] for row in LOCKED)
            silent = outcome.columns["verdict"] == Verdict.SILENT
            assert silent.sum() == 500 - len(LOCKED)
    finally:
        if process:
            process.communicate(b"\n", timeout=10)


def test_probes_beside_refused_ones_count_exactly(bench, build, offsets_of):
    library = locked_library(build)
    calls = "\n".join(f"void f{i:03d}(void);" for i in range(500))
    made = "".join(f"for (int n = 0; n < {i % 4}; n++) f{i:03d}();" for i in range(500))
    user = build(f"{calls}\nint main(void) {{ {made} return 0; }}", str(library), name="user")
    with bench.open_points(offsets_of(library, [f"f{i:03d}" for i in range(500)])) as injection:
        injection.attach(np.arange(500))
        with injection.follow():
            process = subprocess.Popen([user])
        assert process.wait(20) == 0
        batch = bench.receiver.receive(injection, 0)
        counts = np.zeros(500, int)
        counts[batch.records["probe"]] = batch.records["count"]
        assert counts.tolist() == [0 if i in LOCKED else i % 4 for i in range(500)]


def test_all_are_refused_where_all_are_bad(bench, build, offsets_of):
    library = locked_library(build)
    with bench.open_points(offsets_of(library, [f"f{i:03d}" for i in LOCKED])) as injection:
        outcome = injection.attach(np.arange(len(LOCKED)))
        assert set(outcome.columns["verdict"]) == {Verdict.REFUSED}
        assert not injection.attach(np.arange(0)).columns.size


def test_a_place_beyond_the_file_spoils_only_itself(bench, build, offsets_of):
    library = locked_library(build)
    points = offsets_of(library, ["f001", "f002"])
    beyond = FunctionPoint(points[0].binary, (1 << 30,), on_return=False)
    with bench.open_points([points[0], beyond, points[1]]) as injection:
        outcome = injection.attach(np.arange(3))
        assert outcome.columns["verdict"].tolist() == [Verdict.SILENT, Verdict.REFUSED, Verdict.SILENT]
        assert outcome.columns["reason"][1] == Reason.ATTACH_FAILED
        assert "EINVAL" in outcome.details[1]


INSTRUCTIONS = {
    # what the kernel takes for something else by its opcode byte
    "vpshufd": "vpshufd $0x1b, %xmm1, %xmm0",
    "vpcmpeqd": "vpcmpeqd %xmm1, %xmm2, %xmm0",
    "vzeroupper": "vzeroupper",
    "vmovd": "vmovd %xmm1, %eax",
    "vpor": "vpor %xmm1, %xmm2, %xmm0",
    "vpsubsb": "vpsubsb %xmm1, %xmm2, %xmm0",
    "vpsubsw": "vpsubsw %xmm1, %xmm2, %xmm0",
    "vcmpps": "vcmpps $0, %xmm1, %xmm2, %xmm0\n" + "add $1, %rcx\n" * 8,
    "vfnmadd": "vfnmadd132ss %xmm1, %xmm2, %xmm0",
    "xchg": "xchg %rax, %r8",
    "syscall": "mov $39, %eax\nsyscall\nxor %eax, %eax",
    "syscall_first": "syscall\nxor %eax, %eax",
    "rep": "rep movsb",
    # neighbours of those, which it runs as they are
    "vxorps": "vxorps %xmm0, %xmm0, %xmm0",
    "vaddps_rip": "vaddps value(%rip), %xmm1, %xmm0",
    "vmovss_rip": "vmovss value(%rip), %xmm0",
    "vfmadd_rip": "vfmadd213ss value(%rip), %xmm1, %xmm0",
    "andn": "andn %rdi, %rsi, %rax",
    "por": "por %xmm1, %xmm0",
    "pshufd": "pshufd $0x1b, %xmm1, %xmm0",
    "jz": "jz 1f\n1: inc %rax",
    "call": "call 1f\n1: pop %rcx\nxor %ecx, %ecx",
    "push": "push %r12\npop %rcx",
    "endbr": "endbr64\ninc %rax",
    "nop5": ".byte 0x0f, 0x1f, 0x44, 0, 0\ninc %rax",
    "load_rip": "mov value(%rip), %rcx",
    "xchg_ax": "xchg %rax, %rcx",
    "lods": "lodsb",
}
HARMED = {
    "vpshufd",
    "vpcmpeqd",
    "vzeroupper",
    "vmovd",
    "vpor",
    "vpsubsb",
    "vpsubsw",
    "vcmpps",
    "vfnmadd",
    "xchg",
} | {
    "syscall_first",
    "rep",
}


@pytest.fixture
def instructions(build, tmp_path):
    """A program that runs each of the instructions as a function and prints the registers that it leaves."""
    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("this CPU has no AVX2")
    functions = "\n".join(
        f".p2align 5\n.globl i_{name}\n.type i_{name}, @function\ni_{name}: {code}\nret\n.size i_{name}, .-i_{name}"
        for name, code in INSTRUCTIONS.items()
    )
    (tmp_path / "functions.s").write_text(
        f"""
        .data
        value: .quad 0x1122334455667788, 0x99aabbccddeeff00
        seed: .quad 1, 2, 3, 4, 0x123456789abcdef0, 6, 7, 8, 0x0f0f0f0f0f0f0f0f, 10, 11, 12
        from: .fill 64, 1, 7
        to: .fill 64, 1, 0
        .text
        .globl run
        .type run, @function
        run:
            push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
            mov %rsi, %r15
            vmovdqu seed(%rip), %ymm0; vmovdqu seed+32(%rip), %ymm1; vmovdqu seed+64(%rip), %ymm2
            mov %rdi, %r14; lea to(%rip), %rdi; lea from(%rip), %rsi
            mov $39, %eax; mov $20, %ecx; mov $0x303, %edx; mov $0x808, %r8d; mov $0xc0c, %r12d
            cmp $1, %ecx
            call *%r14
            sub $from, %rsi; sub $to, %rdi
            mov %rax, (%r15); mov %rcx, 8(%r15); mov %rdx, 16(%r15); mov %rsi, 24(%r15); mov %rdi, 32(%r15)
            mov %r8, 40(%r15); mov %r12, 48(%r15); vmovdqu %ymm0, 56(%r15); vmovdqu %ymm1, 88(%r15)
            pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
            ret
        {functions}
        .section .note.GNU-stack,"",@progbits
        """
    )
    declared = "\n".join(f"void i_{name}(void);" for name in INSTRUCTIONS)
    table = ", ".join(f'{{"{name}", i_{name}}}' for name in INSTRUCTIONS)
    return build(
        f"""
        #include <stdio.h>
        #include <string.h>
        {declared}
        void run(void (*)(void), unsigned long *);
        struct {{ const char *name; void (*code)(void); }} all[] = {{ {table} }};
        int main(int c, char **v) {{
            unsigned long out[15];
            for (int i = 0; i < sizeof all / sizeof *all; i++) {{
                if (strcmp(all[i].name, v[1])) continue;
                memset(out, 0, sizeof out);
                run(all[i].code, out);
                for (int n = 0; n < 15; n++) printf("%lx ", out[n]);
            }}
            return 0;
        }}
        """,
        str(tmp_path / "functions.s"),
        "-no-pie",
    )


def test_no_probe_changes_what_the_program_does(bench, instructions):
    """Every function is probed that may be; what it leaves in the registers is what it leaves without."""
    returns = bench.injector.find([ProbePattern.parse(f"uretprobe:{instructions}:i_*")])
    assert {row.probe.rpartition(":i_")[2] for row in returns if row.verdict is Verdict.REFUSED} == HARMED
    calls = bench.injector.find([ProbePattern.parse(f"uprobe:{instructions}:i_*")])
    # The others are probed at the instruction behind it; behind a system call nothing is sure to run.
    refused = [row.probe.rpartition(":i_")[2] for row in calls if row.verdict is Verdict.REFUSED]
    assert refused == ["syscall_first"]
    with bench.trial(f"uprobe:{instructions}:i_*") as trial:
        assert set(trial.outcome.columns["verdict"]) == {Verdict.SILENT}
        for name in INSTRUCTIONS:
            bare = subprocess.run([instructions, name], stdout=subprocess.PIPE, check=True, timeout=10)
            probed = trial.run(instructions, name)
            assert (probed.returncode, probed.stdout) == (0, bare.stdout), name
        assert trial.hits() == {f"i_{name}": 1 for name in INSTRUCTIONS if name not in refused}


def test_a_program_runs_right_with_its_whole_c_library_probed(bench):
    """Among its functions are many that are written in AVX2 and AVX-512, and all are called by everyone."""
    script = "import json; print(json.dumps({str(i): [chr(i)] * 3 for i in range(2000)}, ensure_ascii=False))"
    command = ["/usr/bin/python3", "-c", script]
    bare = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=20)
    with bench.trial("uprobe:libc:*mem*", "uprobe:libc:*str*", "uprobe:libc:*wc*", keep=False) as trial:
        probed = trial.run(*command)
        assert (probed.returncode, probed.stdout) == (0, bare.stdout)
        assert len(trial.hits()) > 20
