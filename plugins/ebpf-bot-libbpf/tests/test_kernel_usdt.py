"""usdt on the real kernel: counts are exact, and semaphores are up exactly as long as probes are attached."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ebpf_bot_core import Reason, Scope, Verdict

pytestmark = pytest.mark.live

PYTHON = "/usr/bin/python3.11"

ARMED = """
    #define _SDT_HAS_SEMAPHORES 1
    #include <sys/sdt.h>
    unsigned short shop_paid_semaphore __attribute__((section(".probes")));
    unsigned short shop_sent_semaphore __attribute__((section(".probes")));
    __attribute__((noinline)) void paid(int x) { if (shop_paid_semaphore) DTRACE_PROBE1(shop, paid, x); }
    __attribute__((noinline)) void sent(int x) { DTRACE_PROBE1(shop, sent, x); }
"""
"""Two probes with semaphores; `sent` does not ask for it, and is all that its function begins with."""

SHOP = """
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/sdt.h>
    #include <sys/wait.h>
    #include <unistd.h>
    extern unsigned short shop_paid_semaphore, shop_sent_semaphore;
    void paid(int), sent(int);
    void show(void) { printf("%d %d\\n", shop_paid_semaphore, shop_sent_semaphore); fflush(stdout); }
    void day(int times) {
        DTRACE_PROBE(shop, opened);
        for (int i = 0; i < times; i++) {
            DTRACE_PROBE1(shop, sold, i);
            if (i % 2) DTRACE_PROBE2(shop, sold, i, times); else DTRACE_PROBE(shop, returned);
            paid(i);
            sent(i); sent(i);
        }
        DTRACE_PROBE(shop, sold);
        if (times > 1000000) DTRACE_PROBE(shop, never);
    }
    int main(int c, char **v) {
        int children = c > 2 ? atoi(v[2]) : 0;
        if (c < 2) { show(); while (getchar() > 0) show(); return 0; }
        while (children--) if (!fork()) { day(atoi(v[1])); _exit(0); }
        while (wait(0) > 0);
        day(atoi(v[1]));
        return 0;
    }
"""


def counted(times):
    return {
        "opened": 1,
        "sold": times + times // 2 + 1,
        "returned": times - times // 2,
        "paid": times,
        "sent": 2 * times,
    }


@pytest.fixture
def shop(build, tmp_path):
    """The program, which shows its semaphores for each line that it is given, unless it is given a number."""
    armed = tmp_path / "armed.c"
    armed.write_text(ARMED)
    return build(SHOP, str(armed))


class Open:
    """A program that runs, and says what its semaphores are."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.first = self.process.stdout.readline().split()

    def semaphores(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return [int(word) for word in self.process.stdout.readline().split()]

    def eventually(self, expected, seconds=5):
        deadline = time.monotonic() + seconds
        while (now := self.semaphores()) != expected and time.monotonic() < deadline:
            time.sleep(0.02)
        return now == expected


@pytest.fixture
def running(shop):
    program = Open(shop)
    assert program.first == [b"0", b"0"]
    yield program
    program.process.kill()
    program.process.communicate(timeout=10)


def test_every_hit_of_every_place_is_counted(bench, shop):
    with bench.trial(f"usdt:{shop}:shop:*") as trial:
        assert len(trial.rows) == 6
        assert (trial.outcome.columns["verdict"] == Verdict.SILENT).all()
        trial.run(shop, 1001)
        assert trial.hits() == counted(1001)
        trial.run(shop, 10)
        assert trial.hits() == {name: n + counted(10)[name] for name, n in counted(1001).items()}
        assert trial.lost == 0


def test_the_set_of_those_that_fired_is_exact_where_hits_are_not_kept(bench, shop):
    with bench.trial(f"usdt:{shop}:*:*", keep=False) as trial:
        trial.run(shop, 100)
        once = dict(trial.hits())
        assert once.keys() == counted(100).keys()
        assert once.pop("sold") == 3, "the first hit of each of its places"
        assert set(once.values()) == {1}
        trial.injection.detach(trial.rows)
        trial.run(shop, 100)
        assert trial.hits() == once | {"sold": 3}


def test_children_are_counted_and_others_are_not(bench, shop):
    with bench.trial(f"usdt:{shop}:shop:*") as trial:
        trial.run(shop, 50, 3)
        trial.run(shop, 50, follow=False)
        assert trial.hits() == {name: 4 * n for name, n in counted(50).items()}


def test_a_shared_library_has_probes(bench, build, tmp_path):
    library = build(ARMED, "-shared", "-fPIC", name="libarmed.so")
    target = build(
        "int main(void) { for (int i = 0; i < 7; i++) { paid(i); sent(i); } return 0; }",
        str(library),
        f"-Wl,-rpath,{tmp_path}",
    )
    with bench.trial(f"usdt:{library}:shop:*") as trial:
        trial.run(target)
        trial.run(target)
        assert trial.hits() == {"paid": 14, "sent": 14}
        assert trial.injection.inspect().columns["opportunities"].tolist() == [2, 2]


def test_a_semaphore_is_up_while_its_probe_is_attached(bench, shop, running):
    with bench.open(f"usdt:{shop}:shop:paid", f"usdt:{shop}:shop:never") as (injection, _):
        assert running.semaphores() == [0, 0]
        injection.attach(np.arange(2))
        assert running.semaphores() == [1, 0]
        assert Open(shop).process.communicate(b"\n")[0] == b"1 0\n"
        injection.detach(np.arange(2))
        assert running.semaphores() == [0, 0]
        injection.attach(np.arange(2))
        assert running.semaphores() == [1, 0]
    assert running.semaphores() == [0, 0]
    assert Open(shop).process.communicate(b"\n")[0] == b"0 0\n"


def test_stepping_off_a_probe_lowers_its_semaphore_and_no_other(bench, shop, running):
    with bench.trial(f"usdt:{shop}:shop:*", keep=False) as trial:
        assert running.semaphores() == [1, 1]
        names = [name.rpartition(":")[2] for name in trial.injection.probes]
        trial.injection.detach(np.array([names.index("sent")]))
        assert running.eventually([1, 0])
        trial.run(shop, 5)
        assert trial.hits().keys() == counted(5).keys() - {"sent"}
        assert running.semaphores() == [1, 0]
    assert running.semaphores() == [0, 0]


def test_a_bot_that_is_killed_lowers_the_semaphores(shop, running):
    script = f"""
import numpy as np, sys
from ebpf_bot_core import Mode, ProbePattern, Scope
from ebpf_bot_libbpf.stages import LibbpfInjector
injector = LibbpfInjector()
found = injector.find([ProbePattern.parse("usdt:{shop}:*:*")])
injection = injector.open(found.probes, scope=Scope.COMMAND, mode=Mode.COUNT, keep=True)
injection.attach(np.arange(len(found)))
print("ready", flush=True)
sys.stdin.read()
"""
    bot = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert bot.stdout.readline() == b"ready\n"
        assert running.semaphores() == [1, 1]
        bot.send_signal(signal.SIGKILL)
        assert bot.wait(10) == -signal.SIGKILL
        assert running.eventually([0, 0])
    finally:
        bot.kill()
        bot.communicate(timeout=10)


@pytest.mark.parametrize("kinds", [("usdt", "uprobe"), ("uprobe", "uretprobe", "usdt")])
def test_a_place_with_a_semaphore_can_be_that_of_a_function_too(bench, shop, running, kinds):
    """The kernel refuses to probe one place with a semaphore and without it."""
    names = {
        "usdt": f"usdt:{shop}:shop:sent",
        "uprobe": f"uprobe:{shop}:sent",
        "uretprobe": f"uretprobe:{shop}:sent",
    }
    with bench.trial(*(names[kind] for kind in kinds)) as trial:
        points = bench.injector._finder.points([names["uprobe"], names["usdt"]])
        assert points[0].offsets == tuple(offset for offset, _ in points[1].sites), "as the test assumes"
        assert (trial.outcome.columns["verdict"] == Verdict.SILENT).all(), trial.outcome.details
        assert running.semaphores() == [0, 1]
        trial.run(shop, 30)
        assert trial.hits() == {"sent": 60 * len(kinds)}
    assert running.semaphores() == [0, 0]


def test_opportunities_are_how_often_the_binary_was_loaded(bench, shop):
    with bench.trial(f"usdt:{shop}:shop:never") as trial:
        for _ in range(3):
            trial.run(shop, 1)
        assert trial.hits() == {}
        assert trial.injection.inspect().columns["opportunities"].tolist() == [3]


def test_a_process_that_runs_already_is_counted(bench, build):
    target = build(
        """
        #include <stdio.h>
        #include <sys/sdt.h>
        int main(void) { puts("ready"); fflush(stdout); getchar(); DTRACE_PROBE(app, done); return 0; }
        """
    )
    process = subprocess.Popen([target], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        with bench.trial(f"usdt:{target}:app:*", scope=Scope.HOST) as trial:
            process.communicate(b"\n", timeout=10)
            assert trial.hits() == {"done": 1}
            assert trial.injection.inspect().columns["opportunities"].tolist() == [1]
    finally:
        process.kill()
        process.wait(10)


def test_a_file_that_is_replaced_while_attached_makes_its_probes_blind(bench, shop):
    with bench.trial(f"usdt:{shop}:shop:*") as trial:
        Path(shutil.copy(shop, shop.with_name("other"))).replace(shop)
        trial.run(shop, 5)
        assert trial.hits() == {}
        trial.injection.detach(trial.rows)
        now = trial.injection.inspect()
        assert set(now.columns["verdict"]) == {Verdict.BLIND}
        assert set(now.columns["reason"]) == {Reason.BINARY_REPLACED}


CHURN = """
import gc, sys
starts = 0
def count(phase, info):
    global starts
    starts += phase == "start"
gc.callbacks.append(count)
for _ in range(int(sys.argv[1])):
    gc.collect()
kept = [[i] for i in range(int(sys.argv[2]))]
gc.callbacks.remove(count)
print(starts)
"""
CALLS = """
import sys
calls = 0
def count(frame, event, arg):
    global calls
    calls += event == "call"
def f(): pass
def g(): f()
sys.setprofile(count)
for _ in range(int(sys.argv[1])):
    g()
sys.setprofile(None)
print(calls)
"""
"""Python 3.11 passes its probe of a function's entry only while something profiles or traces it."""


@pytest.mark.skipif(not Path(PYTHON).exists(), reason="no such Python here")
def test_pythons_own_probes_agree_with_what_it_counts_itself(bench):
    """What the interpreter does when it starts and ends is the same in each run, so differences are exact."""
    with bench.trial(f"usdt:{PYTHON}:python:gc__*") as trial:

        def collections(*numbers):
            before = dict(trial.hits())
            counted_by_itself = int(trial.run(PYTHON, "-I", "-S", "-c", CHURN, *numbers).stdout)
            now = trial.hits()
            assert now["gc__start"] == now["gc__done"]
            return now["gc__start"] - before.get("gc__start", 0), counted_by_itself

        hits, own = collections(0, 0)
        outside = hits - own
        for numbers in ((1, 0), (25, 0), (3, 100_000)):
            hits, own = collections(*numbers)
            assert own >= numbers[0] + numbers[1] // 10_000
            assert hits == own + outside


@pytest.mark.skipif(not Path(PYTHON).exists(), reason="no such Python here")
def test_calls_of_python_functions_agree_with_its_profiler(bench):
    with bench.trial(f"usdt:{PYTHON}:python:function__entry") as trial:
        outside = set()
        for number in (1, 100, 350):
            before = trial.hits().get("function__entry", 0)
            calls = int(trial.run(PYTHON, "-I", "-S", "-c", CALLS, number).stdout)
            assert calls == 2 * number
            outside.add(trial.hits()["function__entry"] - before - calls)
        assert len(outside) == 1, "what the interpreter does when it starts is the same each time"
