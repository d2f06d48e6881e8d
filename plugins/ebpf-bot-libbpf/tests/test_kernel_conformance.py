"""The promises that every backend makes, on the real kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ebpf_bot_libbpf.stages import LibbpfInjector, LibbpfReceiver

from ebpf_bot_core import Mode, Scope
from ebpf_bot_core.testing import InjectorTests

pytestmark = pytest.mark.live

SECONDS = 30
NAMES = ("work_one", "work_two", "work_three", "work_four")
SOURCE = (
    """
    #include <stdlib.h>
    #include <string.h>
    #include <sys/sdt.h>
    #include <sys/wait.h>
    #include <unistd.h>
    volatile int x;
    """
    + "\n".join(
        f"__attribute__((noinline)) void {name}(void) {{ x++; DTRACE_PROBE(app, {name}); }}" for name in NAMES
    )
    + '\n__asm__(".globl work_halts\\n.type work_halts, @function\\nwork_halts: hlt\\nret\\n.size work_halts, .-work_halts");'
    # What DTRACE_PROBE(app, work_halts) would leave, if it stood before the first instruction.
    + r"""
    __asm__(".pushsection .note.stapsdt, \"\", \"note\"\n.balign 4\n.4byte 8, 2f - 1f, 3\n.asciz \"stapsdt\"\n"
            "1: .8byte work_halts, 0, 0\n.asciz \"app\"\n.asciz \"work_halts\"\n.asciz \"\"\n2: .balign 4\n.popsection");
    """
    + f"""
    struct {{ const char *name; void (*call)(void); }} all[] = {{ {", ".join(f'{{"{n}", {n}}}' for n in NAMES)} }};
    int main(int c, char **v) {{
        if (atoi(v[1]) && fork()) {{ wait(0); return 0; }}
        for (int i = 3; i < c; i++)
            for (int n = 0; n < sizeof all / sizeof *all; n++)
                if (!strcmp(v[i], all[n].name))
                    for (int times = atoi(v[2]); times; times--) all[n].call();
        return 0;
    }}
    """
)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Build the program once, since nothing here writes to it."""
    directory = tmp_path_factory.mktemp("conformance")
    (directory / "target.c").write_text(SOURCE)
    command = ["gcc", "-O1", "-w", "target.c", "-o", "target"]
    subprocess.run(command, cwd=directory, check=True, timeout=SECONDS)
    return directory / "target"


class CodeTests(InjectorTests):
    """What the kinds of probe in a binary have in common."""

    modes = frozenset(Mode)
    scopes = frozenset(Scope)
    kind = "uprobe"
    provider = ""

    @pytest.fixture(autouse=True)
    def target(self, program):
        self.program = program

    def make_injector(self):
        return LibbpfInjector()

    def make_receiver(self):
        return LibbpfReceiver()

    def patterns(self):
        return [f"{self.kind}:{self.program}:{self.provider}{name}" for name in NAMES]

    def stubborn(self):
        return f"{self.kind}:{self.program}:{self.provider}work_halts"

    def command(self, probes, times, *, fork=False):
        names = [probe.rpartition(":")[2] for probe in probes]
        return [str(self.program), str(int(fork)), str(times), *names]

    def trigger(self, injection, probes, times):
        with injection.follow():
            process = subprocess.Popen(self.command(probes, times))
        process.wait(SECONDS)

    def trigger_in_child(self, injection, probes, times):
        with injection.follow():
            process = subprocess.Popen(self.command(probes, times, fork=True))
        process.wait(SECONDS)

    def trigger_elsewhere(self, probes, times):
        subprocess.run(self.command(probes, times), check=True, timeout=SECONDS)


class TestUprobe(CodeTests):
    """uprobe."""


class TestUretprobe(CodeTests):
    """uretprobe."""

    kind = "uretprobe"


class TestUsdt(CodeTests):
    """usdt."""

    kind = "usdt"
    provider = "app:"


class TestSyscall(InjectorTests):
    """syscall, with calls that hardly anybody makes."""

    modes = frozenset(Mode)
    scopes = frozenset(Scope)
    names = ("swapoff", "acct", "delete_module", "settimeofday")

    def make_injector(self):
        return LibbpfInjector()

    def make_receiver(self):
        return LibbpfReceiver()

    def patterns(self):
        return [f"syscall:{name}" for name in self.names]

    def command(self, probes, times):
        unistd = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read_text().split("#define __NR_")
        numbers = dict(line.split()[:2] for line in unistd[1:])
        wanted = [int(numbers[probe.removeprefix("syscall:")]) for probe in probes]
        call = "import ctypes; call = ctypes.CDLL(None).syscall"
        return [sys.executable, "-c", f"{call}\nfor number in {wanted} * {times}: call(number, 1, 1, 1)"]

    def trigger(self, injection, probes, times):
        with injection.follow():
            process = subprocess.Popen(self.command(probes, times))
        process.wait(SECONDS)

    def trigger_in_child(self, injection, probes, times):
        with injection.follow():
            process = subprocess.Popen(["sh", "-c", '"$@"; true', "sh", *self.command(probes, times)])
        process.wait(SECONDS)

    def trigger_elsewhere(self, probes, times):
        subprocess.run(self.command(probes, times), check=True, timeout=SECONDS)


del CodeTests
