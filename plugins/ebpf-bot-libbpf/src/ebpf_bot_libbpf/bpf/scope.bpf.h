/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which threads are covered: followed from parent to child by the kernel itself.
 *
 * Thread ids are those of the initial pid namespace, everywhere here.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define MAX_TID (1 << 22)	/* PID_MAX_LIMIT of 64-bit kernels */
#define CLONE_THREAD 0x00010000 /* uapi/linux/sched.h */

/* Of the kernel's structs only what is read here; CO-RE finds the fields where this kernel has them. */
struct thread_info {
	__u32 status;
} __attribute__((preserve_access_index));

struct task_struct {
	struct thread_info thread_info;
	int pid;
} __attribute__((preserve_access_index));

/* Set before loading; the verifier drops the branches that it switches off. */
const volatile bool filter; /* count covered threads only */

__u32 foster;	 /* the thread whose next child is to be covered; 0: none */
__u32 expected;	 /* that child, until it executes its program; 0: none */
__u64 execs;	 /* how often a covered process has executed a program */

/* One bit a thread. Not a global variable, so that the 512 KiB are neither shipped nor spent in scope HOST. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_TID / 64); /* 1 in scope HOST */
	__type(key, __u32);
	__type(value, __u64);
} covered SEC(".maps");

static __always_inline __u32 current_tid(void)
{
	return bpf_get_current_task_btf()->pid; /* one load, where bpf_get_current_pid_tgid() is a call more */
}

static __always_inline bool is_covered(__u32 tid)
{
	__u32 word = tid / 64;
	__u64 *bits = bpf_map_lookup_elem(&covered, &word);

	return bits && *bits >> (tid % 64) & 1;
}

static __always_inline void set_covered(__u32 tid, bool on)
{
	__u32 word = tid / 64;
	__u64 mask = 1ULL << (tid % 64);
	__u64 *bits = bpf_map_lookup_elem(&covered, &word);

	if (!bits || !(*bits & mask) == !on)
		return;
	if (on)
		__sync_fetch_and_or(bits, mask);
	else
		__sync_fetch_and_and(bits, ~mask);
}

static __always_inline bool in_scope(void)
{
	return !filter || is_covered(current_tid());
}

/*
 * Programs that keep `covered`. Every task passes task_newtask before it runs, so a thread id that is used again
 * gets its bit anew there and nothing needs to be cleared when a thread ends: a thread stays covered through its
 * own exit. All threads of a process have the same bit, so one that executes a program in place of its leader,
 * and takes over the leader's id, needs no care either.
 */

/* raw_tp/task_newtask: args are the new task and the clone flags; the current thread is the one that made it. */
SEC("raw_tp/task_newtask")
int scope_newtask(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	__u32 child = BPF_CORE_READ(task, pid);
	__u32 parent = current_tid();

	set_covered(child, is_covered(parent));
	if (parent == foster && !(ctx->args[1] & CLONE_THREAD))
		expected = child;
	else if (child == expected) /* the expected one ended without executing anything */
		expected = 0;
	return 0;
}

/* raw_tp/sched_process_exec: only a success gets here; the current thread is the process's only one. */
SEC("raw_tp/sched_process_exec")
int scope_exec(void *ctx)
{
	__u32 tid = current_tid();

	if (tid == expected) {
		expected = 0;
		set_covered(tid, true);
	}
	if (is_covered(tid))
		__sync_fetch_and_add(&execs, 1);
	return 0;
}

/* Run by BPF_PROG_TEST_RUN: inside a pid namespace no other way tells a thread its id in the initial one. */
SEC("raw_tp/none")
int scope_own_tid(void *ctx)
{
	return current_tid();
}
