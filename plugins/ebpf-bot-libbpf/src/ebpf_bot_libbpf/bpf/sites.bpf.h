/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of every mode know of sites: which have been reached, and which syscall is which.
 *
 * A site is one attach point. Its number, from 1, is the cookie of the link, or the lower half of it (for syscalls: an
 * entry of a table), and the index of its counter. In scope COMMAND a hit counts only where the thread that made it is covered.
 */
#include "scope.bpf.h"
#include "handover.bpf.h"

#define SYSCALL_SLOTS 1024
#define TS_COMPAT 0x0002 /* x86 asm/thread_info.h: a 32-bit syscall is active */

struct bpf_raw_tp_link {
	__u64 cookie;
} __attribute__((preserve_access_index));

/* Set before loading; the verifier drops the branches that it switches off. */
const volatile bool keep; /* no hit may be counted twice, also while one link follows on another */

__u32 syscall_sites[SYSCALL_SLOTS]; /* by syscall number; 0: not watched */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set before loading */
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 site)
{
	__u64 *counter = bpf_map_lookup_elem(&counts, &site);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}

/* A 64-bit program can make 32-bit syscalls (int $0x80), whose numbers mean something else. */
static __always_inline bool is_compat_syscall(struct task_struct *task)
{
	return bpf_core_field_exists(task->thread_info.status) && task->thread_info.status & TS_COMPAT;
}

/* The site of a syscall that counts, or 0. Args of raw_tp/sys_enter are the registers and the syscall's number. */
static __always_inline __u32 syscall_site(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 number = ctx->args[1];
	__u32 site;

	if (number >= SYSCALL_SLOTS)
		return 0;
	site = syscall_sites[number];
	return site && in_scope() && !is_compat_syscall(bpf_get_current_task_btf()) ? site : 0;
}

/*
 * Programs on uprobes. Their section says kprobe.multi only because the tools they are built with do not know
 * uprobe.multi; the build sets the expected attach type to BPF_TRACE_UPROBE_MULTI.
 */

/* Code that runs once whenever a binary is loaded: how often the probes in it had a chance to fire. */
SEC("kprobe.multi")
int uprobe_load(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

/* Attached only to learn where the kernel can place a probe. */
SEC("kprobe.multi")
int uprobe_trial(void *ctx)
{
	return 0;
}

/* The same on a perf event, where no link takes many places at once. */
SEC("kprobe")
int event_load(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}
