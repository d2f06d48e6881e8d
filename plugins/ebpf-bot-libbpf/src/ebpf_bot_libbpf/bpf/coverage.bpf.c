// SPDX-License-Identifier: GPL-2.0-only
/*
 * Count mode: each program says that one site was reached, by counting in a table that the bot reads.
 *
 * Needs: kernel 5.17 (light skeletons), BTF. Loading needs CAP_BPF and CAP_PERFMON.
 * Built ahead by scripts/build_objects.py; nothing here is compiled on the host that is probed.
 */
#include "sites.bpf.h"

/* Set before loading. */
const volatile __u32 others; /* the counter that follows those of the sites; 0: hits out of scope are not counted */

__u32 syscall_exit_sites[SYSCALL_SLOTS]; /* by syscall number; 0: not watched */

/* Count a hit, also one out of scope where those are counted: it cost the thread as much. */
static __always_inline void count_whoever(__u32 site)
{
	if (in_scope())
		count(site);
	else if (others)
		count(others + site);
}

SEC("kprobe.multi")
int uprobe_hit(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	if (!keep || !is_counted_already(cookie >> 32))
		count_whoever(cookie);
	return 0;
}

/* Programs on the kernel's own events. */

SEC("raw_tp/any")
int raw_hit(void *ctx)
{
	/* Without this question a kernel before 6.10, which has no such cookies, would refuse the whole object. */
	if (bpf_core_field_exists(struct bpf_raw_tp_link, cookie) && in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("tracepoint")
int tracepoint_hit(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("raw_tp/sys_enter")
int syscall_hit(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 site = syscall_site(ctx);

	if (site)
		count(site);
	return 0;
}

/* Of the registers only where the number of the syscall is kept: x86, arm64. */
struct pt_regs {
	unsigned long orig_ax;
	int syscallno;
} __attribute__((preserve_access_index));

/* raw_tp/sys_exit: args are the registers and what the syscall returns. */
SEC("raw_tp/sys_exit")
int syscall_exit_hit(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
	__u64 number = SYSCALL_SLOTS;
	__u32 site;

	if (bpf_core_field_exists(regs->orig_ax))
		number = BPF_CORE_READ(regs, orig_ax);
	else if (bpf_core_field_exists(regs->syscallno))
		number = (__u32)BPF_CORE_READ(regs, syscallno);
	if (number >= SYSCALL_SLOTS)
		return 0;
	site = syscall_exit_sites[number];
	if (site && in_scope() && !is_compat_syscall(bpf_get_current_task_btf()))
		count(site);
	return 0;
}

/* Programs on perf events: a function of a binary or of the kernel, where no link takes many at once; samples. */

SEC("kprobe")
int event_hit(void *ctx)
{
	count_whoever(bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("perf_event")
int sample_hit(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx));
	return 0;
}

/* Programs on many functions of the kernel at once. */

SEC("kprobe.multi")
int kprobe_hit(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	if (!keep || !is_counted_already_on_cpu(cookie >> 32))
		count_whoever(cookie);
	return 0;
}

/* Attached only to learn where the kernel can place a probe. */
SEC("kprobe.multi")
int kprobe_trial(void *ctx)
{
	return 0;
}

/*
 * A template, not loaded with the others (so the question mark): where a link has no cookie, each site gets a copy of
 * its own, of whatever type the site needs. What comes in r1 is the site's number, set by an instruction that is put
 * before the first. Nothing here may need to be relocated but the maps.
 */
SEC("?raw_tp/any")
int site_hit(void *ctx)
{
	/* Not by in_scope(), which reads the thread's id from where only the loader finds it. */
	if (!filter || is_covered((__u32)bpf_get_current_pid_tgid()))
		count((__u64)ctx);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
