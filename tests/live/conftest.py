"""Programs of known behaviour, and the command line on the real kernel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = 2000
MARK = f"EBPF_BOT_TESTS={os.getpid()}"
"""In the environment of all that these tests start, so that their links are told from those of a run beside them."""
ENVIRONMENT = {**os.environ, "ENABLE_OTLP": "false", "COLUMNS": "120", **dict([MARK.split("=")])}


def calls(i: int) -> int:
    """How often the workload calls function i: every third one never."""
    return 0 if i % 3 == 0 else i % 7 + 1


def workload_source() -> str:
    functions = "\n".join(
        f"__attribute__((noinline, used)) unsigned long f{i:04d}(unsigned long x) {{ return x * {2 * i + 3}u + {i}u; }}"
        for i in range(FUNCTIONS)
    )
    table = ",".join(f"{{f{i:04d}, {calls(i)}}}" for i in range(FUNCTIONS))
    return f"""
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
{functions}
static struct {{ unsigned long (*f)(unsigned long); int times; }} table[] = {{{table}}};
static volatile unsigned long sink;
static void work(void) {{
  unsigned long x = 1;
  for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
    for (int k = 0; k < table[i].times; k++) x = table[i].f(x);
  sink = x;
}}
/* each argument: w = work here, f = work in a forked child, e = work in a child that executes this program anew */
int main(int argc, char **argv) {{
  for (int i = 1; i < argc; i++) {{
    if (argv[i][0] == 'w') {{ work(); continue; }}
    if (argv[i][0] == 's') {{ sleep(atoi(argv[i] + 1)); continue; }}
    pid_t child = fork();
    if (child == 0) {{
      if (argv[i][0] == 'e') execl(argv[0], argv[0], "w", (char *)0);
      else work();
      _exit(0);
    }}
    waitpid(child, 0, 0);
  }}
  return 0;
}}
"""


@pytest.fixture(scope="session")
def workload(tmp_path_factory) -> Path:
    """A program of 2,000 functions; `calls` says how often one round calls each."""
    folder = tmp_path_factory.mktemp("workload")
    source, program = folder / "workload.c", folder / "workload"
    source.write_text(workload_source())
    subprocess.run(["gcc", "-O1", "-o", program, source], check=True, timeout=240)
    return program


@pytest.fixture
def bot(tmp_path):
    """Run `ebpf-bot` in an empty folder."""

    def run(*arguments, env=None, prefix=(), cwd=tmp_path, **kwargs):
        return subprocess.run(
            [*prefix, sys.executable, "-m", "ebpf_bot_core", *map(str, arguments)],
            cwd=cwd,
            env={**ENVIRONMENT, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **kwargs,
        )

    return run


@pytest.fixture
def cover(bot):
    """Run `ebpf-bot run --json` and return its document."""

    def run(*arguments, **kwargs):
        result = bot("run", "--json", *arguments, **kwargs)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def hits(document) -> dict[str, int]:
    """Function or event name to hits."""
    return {probe["probe"].rpartition(":")[2]: probe["hits"] for probe in document["probes"]}
