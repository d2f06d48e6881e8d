"""Users' own BCC programs: their functions are probes, counted exactly; what they write are signals with named fields."""

import json
import sqlite3

import pytest

from tests.live.conftest import calls

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("bcc")]

SOURCE = """
#include <uapi/linux/ptrace.h>
#include <linux/sched.h>

struct call { u64 argument; u32 tgid; char comm[TASK_COMM_LEN]; };
BPF_PERF_OUTPUT(called);

struct program { u32 pid; u32 parent; char comm[TASK_COMM_LEN]; };
BPF_RINGBUF_OUTPUT(programs, 8);

BPF_HASH(how_often, u64, u64);

/* Writes of every second call, and keeps a table as many programs of BCC do. */
int on_call(struct pt_regs *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct call call = { .argument = PT_REGS_PARM1(ctx), .tgid = task->tgid };
	u64 key = 0, *times;

	how_often.increment(key);
	times = how_often.lookup(&key);
	if (times && *times % 2)
		return 0;
	bpf_get_current_comm(&call.comm, sizeof(call.comm));
	called.perf_submit(ctx, &call, sizeof(call));
	return 0;
}

int on_many(struct pt_regs *ctx) { return 0; }

TRACEPOINT_PROBE(sched, sched_process_exec)
{
	struct program program = { .pid = args->pid };
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	program.parent = task->real_parent->tgid;
	bpf_get_current_comm(&program.comm, sizeof(program.comm));
	programs.ringbuf_output(&program, sizeof(program), 0);
	return 0;
}

RAW_TRACEPOINT_PROBE(sched_process_fork) { return 0; }

/* A helper that is no probe of its own. */
static int unused(void) { return 0; }
"""
PLAN = """
[plan]
name = "mine"
[[expect]]
probes = {expected}
[stages]
injector = {{ name = "bcc", source = "probe.c", attach = {{ {attach} }} }}
"""


@pytest.fixture
def plan(tmp_path):
    def write(expected, **attach):
        (tmp_path / "probe.c").write_text(SOURCE)
        listed = ", ".join(f"{function} = {json.dumps(patterns)}" for function, patterns in attach.items())
        (tmp_path / "plan.toml").write_text(PLAN.format(expected=json.dumps(expected), attach=listed))
        return "plan.toml"

    return write


@pytest.fixture
def signals(tmp_path):
    """Return the signals of the last run as the store has them, those with fields first."""

    def read():
        with sqlite3.connect(tmp_path / ".ebpf-bot.db") as db:
            rows = db.execute(
                "select probe, count, pid, tid, cpu, extra from signal_log "
                "where run = (select max(run) from signal_log)"
            ).fetchall()
        return [(*row[:5], json.loads(row[5]) if row[5] else {}) for row in rows]

    return read


def by_probe(document):
    return {row["probe"]: row for row in document["probes"]}


@pytest.mark.parametrize("mode", ["count", "stream"])
def test_every_hit_is_counted_in_the_command_and_its_children_alone(cover, plan, workload, mode):
    expected = [f"uprobe:{workload}:f0001", f"uprobe:{workload}:f1???", "tracepoint:*:*", "rawtracepoint:*"]
    path = plan(expected, on_call=f"uprobe:{workload}:f0001", on_many=[f"uprobe:{workload}:f1???"])
    document = cover(path, "--keep", "--mode", mode, "--", workload, "w", "f", "e")
    rows = by_probe(document)
    assert document["signals_lost"] == 0
    assert rows[f"uprobe:{workload}:f0001"]["hits"] == 3 * calls(1)
    many = {name: row["hits"] for name, row in rows.items() if ":f1" in name}
    assert many == {f"uprobe:{workload}:f{i}": 3 * calls(i) for i in range(1000, 2000)}
    assert rows["rawtracepoint:sched_process_fork"]["hits"] == 2
    assert rows["tracepoint:sched:sched_process_exec"]["hits"] == 2
    assert len(rows) == 1003


def test_what_it_writes_has_the_fields_that_it_declares(cover, plan, workload, signals):
    path = plan([f"uprobe:{workload}:f0001", "tracepoint:*:*"], on_call=f"uprobe:{workload}:f0001")
    cover(path, "--keep", "--mode", "stream", "--", workload, *"wwww")
    hits = 4 * calls(1)
    of_calls = [row for row in signals() if row[0].endswith(":f0001")]
    assert sum(row[1] for row in of_calls) == hits
    written = [row for row in of_calls if row[5]]
    assert len(written) == hits // 2
    for _, count, pid, tid, cpu, fields in written:
        assert count == 1
        assert fields["tgid"] == pid == tid
        assert fields["comm"] == "workload"
        assert cpu >= 0
        assert isinstance(fields["argument"], int)
    (executed,) = [row for row in signals() if row[0] == "tracepoint:sched:sched_process_exec"]
    assert executed[5] == {"pid": written[0][2], "parent": executed[5]["parent"], "comm": "workload"}
    assert executed[5]["parent"] > 1


def test_what_no_function_serves_says_so(bot, plan, workload):
    path = plan(
        [f"uprobe:{workload}:f0001", f"uprobe:{workload}:f0002", "kprobe:*"],
        on_call=f"uprobe:{workload}:f0001",
    )
    shown = bot("run", path, "--json", "--", workload, "w")
    assert shown.returncode == 0, shown.stderr
    assert "on_many is attached to nothing" in shown.stderr
    rows = by_probe(json.loads(shown.stdout))
    assert rows[f"uprobe:{workload}:f0001"]["verdict"] == "fired"
    for name in (f"uprobe:{workload}:f0002", "kprobe:*"):
        assert (rows[name]["verdict"], rows[name]["reason"]) == ("refused", "no-backend")
    assert "attach" in rows[f"uprobe:{workload}:f0002"]["detail"]


@pytest.mark.parametrize(
    ("attach", "words"),
    [
        ({"on_cal": "uprobe:libc:malloc"}, ("no function 'on_cal'", "on_call, on_many")),
        ({"on_call": "uprobe:libc:mall*", "on_many": "uprobe:libc:malloc"}, ("both attached to uprobe:",)),
        ({"on_call": "syscall:openat"}, ("tracepoint:syscalls:sys_enter_NAME",)),
        ({"on_call": "libc:malloc"}, ("malformed probe pattern",)),
    ],
)
def test_a_wrong_attachment_is_one_clear_line(bot, plan, attach, words):
    shown = bot("run", plan(["uprobe:libc:malloc"], **attach), "--", "echo", "started")
    assert shown.returncode == 2
    assert "started" not in shown.stdout
    assert all(word in shown.stderr for word in words), shown.stderr
    assert "Traceback" not in shown.stderr
