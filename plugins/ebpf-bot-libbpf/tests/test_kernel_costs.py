"""What probes cost is estimated from real hits, and taking the costly ones off costs the others no hit."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from ebpf_bot_linux.costing.places import Place, places

from ebpf_bot_core import Command, Plan, Reason, UnifiedPipeline, Verdict

pytestmark = pytest.mark.live

BUSY = """
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    #define F(name) asm(".globl " #name "\\n.type " #name ", @function\\n" #name ": nop\\nret\\n.size " #name ", 2"); void name(void);
    F(a) F(b) F(c) F(d)
    long rounds, done;
    volatile int told;
    void *work(void *_) {
        long i = 0;
        while (i < rounds && !told) { a(); b(); c(); d(); i++; }
        __sync_fetch_and_add(&done, i);
        return 0;
    }
    /* So many rounds in each of three threads, or until there is something to read; then how many there were. */
    int main(int argc, char **argv) {
        pthread_t threads[3];
        rounds = atol(argv[1]);
        puts("begun"); fflush(stdout);
        for (int i = 0; i < 3; i++) pthread_create(threads + i, 0, work, 0);
        if (argc > 2) { getchar(); told = 1; }
        for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
        printf("%ld\\n", done);
    }
"""
MOST = 100_000_000
"""Rounds that nobody waits for."""


@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_those_that_stay_are_counted_exactly_while_others_leave_under_fire(bench, build, kind):
    target = build(BUSY)
    names = [f"{kind}:{target}:{name}" for name in "abcd"]
    with bench.trial(*names) as trial:
        with trial.injection.follow():
            process = subprocess.Popen(
                [target, str(MOST), "until told"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        try:
            assert process.stdout.readline() == b"begun\n"
            for leaving in (0, 1):
                trial.hits(timeout=10)
                trial.injection.detach(np.array([leaving]))
            rounds = int(process.communicate(b"\n", timeout=60)[0])
        finally:
            process.kill()
            process.wait()
        hits = trial.hits()
        assert (hits["c"], hits["d"]) == (rounds, rounds)
        assert 0 < hits["a"] < rounds


def test_cost_is_hits_times_what_one_costs_at_its_place(bench, build):
    target = build(BUSY)
    with bench.trial(f"uprobe:{target}:a", f"uprobe:{target}:main") as trial:
        assert trial.injection.cost().tolist() == [0, 0]
        trial.run(target, 1000)
        a, main = trial.injection.cost().tolist()
        assert trial.hits() == {"a": 3000, "main": 1}
        assert 3000 * 0.1e-6 < a < 3000 * 20e-6
        assert 0 < main < a


def test_hits_out_of_scope_cost_too(bench, build):
    target = build(BUSY)
    with bench.trial(f"uprobe:{target}:a") as trial:
        trial.run(target, 100, follow=False)
        assert trial.hits() == {}
        assert trial.injection.cost()[0] > 0


def test_a_hot_probe_goes_when_it_costs_too_much_and_the_cold_ones_stay(bench, build):
    target = build("""
        #include <stdlib.h>
        #include <time.h>
        __attribute__((noinline, used)) long hot(long x) { return x * 3; }
        __attribute__((noinline, used)) long cold(long x) { return x * 5; }
        int main(int argc, char **argv) {
            volatile long x = 1;
            time_t end = time(0) + 4;
            while (time(0) < end) x = hot(x);
            x = cold(x);
            return 0;
        }
    """)
    plan = Plan.parse(
        f"""
        plan = {{ name = "hot" }}
        expect = [{{ probes = ["uprobe:{target}:hot", "uprobe:{target}:cold"] }}]
        budget = {{ max_overhead = "1%" }}
        stages = {{ store = "memory" }}
        """,
        where="here",
    )
    with UnifiedPipeline(plan, keep=True) as pipeline:
        rows = {
            row.probe.rpartition(":")[2]: row for row in pipeline.run(command=Command([str(target)])).evidence
        }
    assert (rows["hot"].verdict, rows["hot"].reason) == (Verdict.FIRED, Reason.BUDGET)
    assert "taken off" in rows["hot"].detail
    assert rows["hot"].hits > 0
    assert (rows["cold"].verdict, rows["cold"].reason, rows["cold"].hits) == (Verdict.FIRED, Reason.NONE, 1)
    assert pipeline.record.overhead_ratio is not None


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("55", Place.EMULATED),
        ("4154", Place.EMULATED),
        ("90", Place.EMULATED),
        ("e800000000", Place.EMULATED),
        ("0f8400000000", Place.EMULATED),
        ("7405", Place.EMULATED),
        ("f30f1efa", Place.STEPPED),
        ("4883ec08", Place.STEPPED),
        ("0f1f00", Place.LONG_NOP),
        ("6690", Place.LONG_NOP),
        ("0f1f440000", Place.CALLABLE_NOP),
    ],
)
def test_the_kind_of_place_is_told_by_its_bytes(code, place):
    row = np.frombuffer(bytes.fromhex(code).ljust(15, b"\0"), np.uint8).reshape(1, -1)
    assert places(row).tolist() == [place]
