// SPDX-License-Identifier: GPL-2.0-only
/*
 * Count mode: each program says that one site was reached, by counting in a table that the bot reads.
 *
 * Needs: kernel 6.6 (uprobe_multi), BTF; raw tracepoints also 6.10 (cookies). Loading needs CAP_BPF and CAP_PERFMON.
 * Built ahead by scripts/build_objects.py; nothing here is compiled on the host that is probed.
 */
#include "sites.bpf.h"

/* Set before loading; the verifier drops the branches that it switches off. */
const volatile bool keep; /* count every hit, not just the first */

SEC("kprobe.multi")
int uprobe_hit(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx), keep);
	return 0;
}

/* Programs on the kernel's own events. */

SEC("raw_tp/any")
int raw_hit(void *ctx)
{
	/* Without this question a kernel before 6.10, which has no such cookies, would refuse the whole object. */
	if (bpf_core_field_exists(struct bpf_raw_tp_link, cookie) && in_scope())
		count(bpf_get_attach_cookie(ctx), keep);
	return 0;
}

SEC("tracepoint")
int tracepoint_hit(void *ctx)
{
	if (in_scope())
		count(bpf_get_attach_cookie(ctx), keep);
	return 0;
}

SEC("raw_tp/sys_enter")
int syscall_hit(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 site = syscall_site(ctx);

	if (site)
		count(site, keep);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
