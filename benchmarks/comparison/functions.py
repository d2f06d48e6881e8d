"""The program whose functions are probed: N of them, each beginning with an instruction that the kernel emulates.

Nine of ten are called, so that a tool has something left to wait for; the first one is then called in a loop.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import attrs
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

_SOURCE = """
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#define PROBED __attribute__((noinline, used, patchable_function_entry(1)))
%(bodies)s
static unsigned long (*table[])(unsigned long) = {%(table)s};
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static int rising(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }
int main(int c, char **v) { /* FILE, seconds to loop, system calls to make, seconds to sleep first */
  sleep(atoi(v[4]));
  double seconds = atof(v[2]), began = now(), hot = 0, syscalls = 0;
  long calls = atol(v[3]);
  unsigned long x = 1;
  for (int i = 0; i < %(called)d; i++) x = table[i](x);
  static double slots[10000];
  int n = 0;
  /* In slots of 5 ms, of which those count that begin a second after the first call; the median of them. */
  for (double first = now(), slot = first; slot < first + seconds && n < 10000; slot = now()) {
    long done = 0;
    double then = slot;
    while ((then = now()) < slot + 0.005) { for (int i = 0; i < 1000; i++) x = table[0](x); done += 1000; }
    if (slot >= first + 1) slots[n++] = (then - slot) * 1e9 / done;
  }
  if (n) { qsort(slots, n, sizeof *slots, rising); hot = slots[n / 2]; }
  double before = now();
  for (long i = 0; i < calls; i++) x += syscall(SYS_getppid);
  if (calls) syscalls = (now() - before) * 1e9 / calls;
  FILE *out = fopen(v[1], "w");
  fprintf(out, "%%.6f %%.6f %%.3f %%.3f %%lu\\n", began, now(), hot, syscalls, x);
  return fclose(out);
}
"""


@attrs.frozen
class Reading:
    """What the program measured of itself.

    Attributes:
        began: CLOCK_MONOTONIC in seconds, at its first line; `ended` at its last.
        hot_ns: a call of the hot function, from a second after its first call on; 0 where it was not asked for.
        syscall_ns: a getppid; 0 where it was not asked for.
    """

    began: float
    ended: float
    hot_ns: float
    syscall_ns: float


@attrs.frozen
class Program:
    """The compiled program.

    Attributes:
        functions: how many it has; `called` how many of them it calls.
    """

    binary: Path
    functions: int

    pattern = "f0*"

    @property
    def called(self) -> int:
        """How many functions it calls."""
        return self.functions - self.functions // 10

    @classmethod
    def build(cls, folder: Path, functions: int) -> Program:
        """Write and compile it; needs gcc."""
        names = [f"f{i:06d}" for i in range(functions)]
        bodies = "\n".join(
            f"PROBED unsigned long {name}(unsigned long x) {{ return x * {2 * i + 3}u; }}"
            for i, name in enumerate(names)
        )
        source = folder / f"functions{functions}.c"
        called = functions - functions // 10
        source.write_text(
            _SOURCE % {"bodies": bodies, "table": ",".join(names), "called": called}, encoding="ascii"
        )
        binary = source.with_suffix("")
        command = ["gcc", "-O1", "-fcf-protection=none", "-o", str(binary), str(source)]
        subprocess.run(command, check=True, timeout=120)
        return cls(binary, functions)

    def command(self, *, loop_seconds: float = 0.0, syscalls: int = 0, sleep_seconds: int = 0) -> list[str]:
        """Return its command line; it sleeps before it calls anything."""
        return [str(self.binary), str(self._times), str(loop_seconds), str(syscalls), str(sleep_seconds)]

    def reading(self) -> Reading:
        """Return what the last run measured, and forget it."""
        fields = self._times.read_text(encoding="ascii").split()
        self._times.unlink()
        return Reading(*map(float, fields[:4]))

    @property
    def _times(self) -> Path:
        return self.binary.with_suffix(".times")

    def offsets(self) -> dict[str, int]:
        """Return where in the file each probed function begins."""
        with self.binary.open("rb") as file:
            elf = ELFFile(file)
            segments = [s.header for s in elf.iter_segments() if s.header.p_type == "PT_LOAD"]
            symbols = elf.get_section_by_name(".symtab")
            assert isinstance(symbols, SymbolTableSection)
            found = {s.name: s.entry.st_value for s in symbols.iter_symbols() if s.name.startswith("f0")}
        return {
            name: value - segment.p_vaddr + segment.p_offset
            for name, value in found.items()
            for segment in segments
            if segment.p_vaddr <= value < segment.p_vaddr + segment.p_filesz
        }
