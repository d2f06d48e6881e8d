"""What is seen is what ran: the same execution counted by `gcc --coverage` and by the probes, function by function."""

import subprocess

import pytest

from agreement.comparing import compare
from agreement.covering import cover
from agreement.functions import read_functions
from agreement.gcov import counted, forget

pytestmark = pytest.mark.live

PROGRAM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int elsewhere(int);
static volatile int sink;
static jmp_buf back;

static __attribute__((noinline)) int same_name(int x) { return sink += x; }
static __attribute__((noinline)) int recursive(int n) { return n < 2 ? n : recursive(n - 1) + recursive(n - 2); }
static __attribute__((noinline)) int even(int n);
static __attribute__((noinline)) int odd(int n) { return n ? even(n - 1) : 0; }
static int even(int n) { return n ? odd(n - 1) : 1; }
static __attribute__((noinline)) int never_called(int x) { return x * 5 + sink; }
static __attribute__((noinline)) int in_both(int x) { sink ^= x; return x; }
static __attribute__((noinline)) int in_child(int x) { return in_both(x + 1); }
static __attribute__((noinline)) int in_thread(int x) { return in_both(x + 2); }
static __attribute__((noinline)) void leaves(int x) { if (x) longjmp(back, x); }
static __attribute__((noinline)) int split(int x) {
  if (__builtin_expect(x < 0, 0)) { fprintf(stderr, "negative\\n"); abort(); }
  return x + sink;
}
static __attribute__((noinline)) int specialised(int x, int by) { sink += x; return by ? x / by : sink; }
static inline int small(int x) { return x + 1; }
static int (*table[])(int) = {same_name, recursive, odd, in_both};

static void *thread(void *x) { for (int i = 0; i < 9; i++) in_thread(i); return x; }
void at_end(void) { same_name(1); }

int main(int argc, char **argv) {
  int x = argc;
  atexit(at_end);
  for (int i = 0; i < 4; i++) for (int k = 0; k < 3 * i; k++) x = small(table[i](k));
  for (int i = 0; i < 5; i++) if (!setjmp(back)) leaves(i);
  for (int i = 0; i < 6; i++) x += split(i) + specialised(i, 7) + elsewhere(i);
  pthread_t other;
  pthread_create(&other, 0, thread, 0);
  pthread_join(other, 0);
  if (fork() == 0) { for (int i = 0; i < 11; i++) in_child(i); exit(0); }
  wait(0);
  if (argc > 1) {
    void *plugin = dlopen(argv[1], RTLD_NOW);
    int (*f)(int) = (int (*)(int))dlsym(plugin, "from_plugin");
    for (int i = 0; i < 13; i++) x += f(i);
    dlclose(plugin);  /* so that it writes its counts, which execl, of the program, does not do for it */
    execl(argv[0], argv[0], (char *)0);
  }
  if (argc > 100) never_called(x);
  return 0;
}
"""
ELSEWHERE = """
static volatile int sink;
static __attribute__((noinline)) int same_name(int x) { return sink -= x; }
static __attribute__((noinline)) int unused_here(int x) { return sink *= x; }
int elsewhere(int x) { return x > 100 ? unused_here(x) : same_name(x) + same_name(1); }
"""
PLUGIN = """
static volatile int sink;
static __attribute__((noinline)) int within_plugin(int x) { return sink += x; }
int from_plugin(int x) { return x % 2 ? within_plugin(x) : x; }
int never_asked_for(int x) { return within_plugin(x + 1); }
"""
# Because of -pthread gcc counts atomically, by instructions that no probe can be on: many functions begin with one.
FLAGS = ("-O2", "-g1", "--coverage", "-pthread")
GCOV_COUNTS_RETURNS_OF_SETJMP = {"main": "gcov takes each return of setjmp for another entry of its function"}


@pytest.fixture(
    params=[(), ("-fno-inline",), ("-O3", "-flto"), ("-O1",)], ids=lambda flags: "".join(flags) or "O2"
)
def program(request, tmp_path):
    """The program, its own counts below `tmp_path`, and the plugin that it loads beside it."""
    for name, text in {"program": PROGRAM, "elsewhere": ELSEWHERE, "plugin": PLUGIN}.items():
        (tmp_path / f"{name}.c").write_text(text)
    gcc = ["gcc", *FLAGS, *request.param]
    subprocess.run([*gcc, "-o", "program", "program.c", "elsewhere.c"], cwd=tmp_path, check=True, timeout=120)
    subprocess.run(
        [*gcc, "-shared", "-fPIC", "-o", "plugin.so", "plugin.c"], cwd=tmp_path, check=True, timeout=120
    )
    return tmp_path / "program"


@pytest.mark.parametrize("target", ["program", "plugin.so"])
def test_every_function_ran_as_often_as_gcov_says(program, target):
    folder = program.parent
    forget(folder)
    coverage = cover(folder / target, [program, folder / "plugin.so"], folder, {})
    counts = counted(folder)
    functions = read_functions(folder / target, counts)
    found = compare(functions, counts, coverage, GCOV_COUNTS_RETURNS_OF_SETJMP)
    assert found.unexplained == ()
    assert {each.function for each in found.sets} <= functions.inlined
    assert {each.function for each in found.counts} <= functions.inlined | {"main"}
    assert found.lost == 0
    assert 0 < found.executed < found.functions


def test_the_comparison_can_fail(program):
    """A call that the probes did not see is found, whichever side misses it."""
    folder = program.parent
    forget(folder)
    coverage = cover(folder / "program", [program], folder, {})
    counts = counted(folder)
    functions = read_functions(folder / "program", counts)
    unseen = compare(functions, {**counts, "never_called": 1}, coverage, {})
    assert [each.function for each in unseen.unexplained if not each.entered] == ["never_called"]
    recounted = compare(
        functions, {**counts, "in_child": counts["in_child"] - 1}, coverage, {"main": "setjmp"}
    )
    assert "in_child" in {each.function for each in recounted.unexplained}
