"""The promises that every backend makes, on the real kernel: the core's kit, with a program that is built for it.

A backend subclasses each class as a pytest class, with `make_injector`, `make_receiver` and its `modes`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import pytest

from ebpf_bot_core import Injection, Scope
from ebpf_bot_core.testing import InjectorTests
from ebpf_bot_linux.testing.bench import SECONDS

__all__ = ["SyscallTests", "UprobeTests", "UretprobeTests", "UsdtTests"]

_NAMES: Final = ("work_one", "work_two", "work_three", "work_four")
_SOURCE: Final = (
    """
    #include <stdlib.h>
    #include <string.h>
    #include <sys/sdt.h>
    #include <sys/wait.h>
    #include <unistd.h>
    volatile int x;
    """
    + "\n".join(
        f"__attribute__((noinline)) void {name}(void) {{ x++; DTRACE_PROBE(app, {name}); }}"
        for name in _NAMES
    )
    + '\n__asm__(".globl work_halts\\n.type work_halts, @function\\nwork_halts: hlt\\nret\\n.size work_halts, .-work_halts");'
    # What DTRACE_PROBE(app, work_halts) would leave, if it stood before the first instruction.
    + r"""
    __asm__(".pushsection .note.stapsdt, \"\", \"note\"\n.balign 4\n.4byte 8, 2f - 1f, 3\n.asciz \"stapsdt\"\n"
            "1: .8byte work_halts, 0, 0\n.asciz \"app\"\n.asciz \"work_halts\"\n.asciz \"\"\n2: .balign 4\n.popsection");
    """
    + f"""
    struct {{ const char *name; void (*call)(void); }} all[] = {{ {", ".join(f'{{"{n}", {n}}}' for n in _NAMES)} }};
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


class _CommandTests(InjectorTests):
    """What triggers probes by a command, which the injection follows or not."""

    scopes = frozenset(Scope)

    def command(self, probes: Sequence[str], times: int, *, in_child: bool = False) -> list[str]:
        """Return the command that makes each of some probes fire so often, by itself or by a child."""
        raise NotImplementedError

    def trigger(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        """Run it, followed."""
        self._run_followed(injection, self.command(probes, times))

    def trigger_in_child(self, injection: Injection, probes: Sequence[str], times: int) -> None:
        """Run it so that a child of what is followed fires."""
        self._run_followed(injection, self.command(probes, times, in_child=True))

    def trigger_elsewhere(self, probes: Sequence[str], times: int) -> None:
        """Run it, followed by no one."""
        subprocess.run(self.command(probes, times), check=True, timeout=SECONDS)

    @staticmethod
    def _run_followed(injection: Injection, command: Sequence[str]) -> None:
        with injection.follow():
            process = subprocess.Popen(command)
        process.wait(SECONDS)


class UprobeTests(_CommandTests):
    """uprobe."""

    kind: ClassVar[str] = "uprobe"
    provider: ClassVar[str] = ""
    program: ClassVar[Path]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def target(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Build the program once, since nothing here writes to it."""
        directory = tmp_path_factory.mktemp("conformance")
        (directory / "target.c").write_text(_SOURCE)
        command = ["gcc", "-O1", "-w", "target.c", "-o", "target"]
        subprocess.run(command, cwd=directory, check=True, timeout=SECONDS)
        cls.program = directory / "target"

    def patterns(self) -> Sequence[str]:
        """Name the functions, or the notes in them."""
        return [f"{self.kind}:{self.program}:{self.provider}{name}" for name in _NAMES]

    def stubborn(self) -> str:
        """Name the one whose instruction the kernel does not let be probed."""
        return f"{self.kind}:{self.program}:{self.provider}work_halts"

    def command(self, probes: Sequence[str], times: int, *, in_child: bool = False) -> list[str]:
        """Have the program call the functions."""
        names = [probe.rpartition(":")[2] for probe in probes]
        return [str(self.program), str(int(in_child)), str(times), *names]


class UretprobeTests(UprobeTests):
    """uretprobe."""

    kind = "uretprobe"


class UsdtTests(UprobeTests):
    """usdt."""

    kind = "usdt"
    provider = "app:"


class SyscallTests(_CommandTests):
    """syscall, with calls that hardly anybody makes."""

    names: ClassVar[Sequence[str]] = ("swapoff", "acct", "delete_module", "settimeofday")

    def patterns(self) -> Sequence[str]:
        """Name the calls."""
        return [f"syscall:{name}" for name in self.names]

    def command(self, probes: Sequence[str], times: int, *, in_child: bool = False) -> list[str]:
        """Make the calls, with arguments that do nothing."""
        unistd = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read_text().split("#define __NR_")
        numbers = dict(line.split()[:2] for line in unistd[1:])
        wanted = [int(numbers[probe.removeprefix("syscall:")]) for probe in probes]
        call = "import ctypes; call = ctypes.CDLL(None).syscall"
        script = f"{call}\nfor number in {wanted} * {times}: call(number, 1, 1, 1)"
        return [*(["sh", "-c", '"$@"; true', "sh"] if in_child else []), sys.executable, "-c", script]
