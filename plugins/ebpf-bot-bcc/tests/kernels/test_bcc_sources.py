"""A user's own program on functions of the kernel, and the headers that it is compiled against."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from ebpf_bot_bcc.compiling import Compiler
from ebpf_bot_bcc.options import BccOptions
from ebpf_bot_bcc.source.injector import SourceInjector
from ebpf_bot_bcc.stages import BccReceiver
from ebpf_bot_linux.testing import KindTests

from ebpf_bot_core import Mode, ProbePattern, Verdict

pytestmark = [pytest.mark.live, pytest.mark.kernels]

COMPILER = Compiler()
OWN = Path("/lib/modules", platform.release(), "build").exists()
"""Whether this kernel's headers are installed: then they are to be used, else some made of its BTF."""
DAYS = 7
CALLS = 2 * (DAYS + 1)

SOURCE = """
#include <linux/ptrace.h>
#include <linux/sched.h>

struct call { u32 tgid; s32 result; char comm[TASK_COMM_LEN]; };
BPF_PERF_OUTPUT(entered);
BPF_PERF_OUTPUT(returned);
BPF_PERF_OUTPUT(entered_below);
BPF_PERF_OUTPUT(returned_below);
BPF_PERF_OUTPUT(ended);

static inline struct call now(int result)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct call call = {.result = result};
    bpf_probe_read_kernel(&call.tgid, sizeof(call.tgid), &task->tgid);
    bpf_probe_read_kernel_str(call.comm, sizeof(call.comm), task->comm);
    return call;
}

int kprobe__sys_unlink(struct pt_regs *ctx)
{
    struct call call = now(1);
    entered.perf_submit(ctx, &call, sizeof(call));
    return 0;
}

int kretprobe__sys_unlink(struct pt_regs *ctx)
{
    struct call call = now(PT_REGS_RC(ctx));
    returned.perf_submit(ctx, &call, sizeof(call));
    return 0;
}

KFUNC_PROBE(__x64_sys_unlink, const struct pt_regs *regs)
{
    struct call call = now(1);
    entered_below.perf_submit(ctx, &call, sizeof(call));
    return 0;
}

KRETFUNC_PROBE(__x64_sys_unlink, const struct pt_regs *regs, long result)
{
    struct call call = now(result);
    returned_below.perf_submit(ctx, &call, sizeof(call));
    return 0;
}

RAW_TRACEPOINT_PROBE(sched_process_exit)
{
    struct call call = now(0);
    ended.perf_submit(ctx, &call, sizeof(call));
    return 0;
}
"""

SEEN = """
#ifdef CONFIG_HZ
int the_kernels_own(void *ctx) { return 0; }
#else
int made_of_btf(void *ctx) { return 0; }
#endif
"""
"""BTF knows no macros, and nothing here compiles without one of the two kinds of headers."""


def test_the_kernels_own_headers_are_used_where_they_are_and_else_some_made_of_its_btf():
    assert COMPILER.headers().made is not OWN
    assert set(COMPILER.compile(SEEN, "seen.c").functions) == {"the_kernels_own" if OWN else "made_of_btf"}


class TestSource(KindTests):
    """The functions of a file, which are told where they belong by their names."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def source(cls, tmp_path_factory):
        cls.file = tmp_path_factory.mktemp("source") / "calls.c"
        cls.file.write_text(SOURCE)

    def make_injector(self, features):
        return SourceInjector(BccOptions(source=str(self.file)), features, COMPILER)

    def make_receiver(self):
        return BccReceiver()

    def called(self):
        return "bcc, the kernel's headers" if OWN else "bcc, headers of BTF"

    @pytest.mark.parametrize("kind", ["kprobe", "kretprobe", "fentry", "fexit"])
    def test_each_call_is_counted_and_told_with_what_the_function_wrote(
        self, either, target, lacking, shows, kind
    ):
        probe = f"{kind}:__x64_sys_unlink"
        if kind in lacking:
            found = either.injector.find([ProbePattern.parse(probe)])
            assert [(row.verdict, row.reason.code) for row in found] == [(Verdict.REFUSED, lacking[kind])]
            return
        with either.trial(probe) as trial:
            trial.run(target, "day", DAYS)
            assert trial.hits() == {"__x64_sys_unlink": CALLS}
        with either.trial(probe, mode=Mode.STREAM) as trial:
            trial.run(target, "day", DAYS)
            trial.run(target, "day", DAYS, follow=False)
            assert [row.verdict for row in trial.outcome] == [Verdict.SILENT], trial.outcome
            signals = list(trial.receiver.receive(trial.injection, 0))
        assert sum(signal.count for signal in signals) == len(signals) == CALLS
        assert {signal.extra["tgid"] - signal.pid for signal in signals} == {0}
        assert {signal.extra["comm"] for signal in signals} == {b"target"}
        assert {signal.extra["result"] for signal in signals} == {
            -2 if "ret" in kind or kind == "fexit" else 1
        }
        shows(kind, "a user's own program likewise")

    def test_what_serves_one_site_writes_to_buffers_too(self, either, target, shows):
        """It is loaded when it is attached, after all else."""
        with either.trial("rawtracepoint:sched_process_exit", mode=Mode.STREAM) as trial:
            assert [row.verdict for row in trial.outcome] == [Verdict.SILENT], trial.outcome
            trial.run(target, "day", 1)
            signals = list(trial.receiver.receive(trial.injection, 0))
        assert [(signal.count, signal.extra["comm"]) for signal in signals] == [(1, b"target")] * 2
        assert len({signal.extra["tgid"] for signal in signals}) == 2
        shows("rawtracepoint", "a user's own program likewise")
