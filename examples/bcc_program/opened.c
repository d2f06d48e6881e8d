/* Which files are opened, and how large the buffers are that a program asks for: a program as people write it for BCC. */
#include <uapi/linux/ptrace.h>

struct opened {
	u32 flags;
	char path[96];
};
BPF_PERF_OUTPUT(opened);

struct allocated {
	u64 bytes;
	u64 so_far; /* by this thread */
};
BPF_RINGBUF_OUTPUT(allocated, 64);
BPF_HASH(bytes_of, u32, u64);

/* Attached where its name says. */
TRACEPOINT_PROBE(syscalls, sys_enter_openat)
{
	struct opened seen = { .flags = args->flags };

	bpf_probe_read_user_str(&seen.path, sizeof(seen.path), args->filename);
	opened.perf_submit(args, &seen, sizeof(seen));
	return 0;
}

/* Attached where the plan says. Of small pieces it says nothing; they are counted all the same. */
int on_malloc(struct pt_regs *ctx)
{
	u32 thread = bpf_get_current_pid_tgid();
	u64 bytes = PT_REGS_PARM1(ctx), *sum, none = 0;
	struct allocated *seen;

	sum = bytes_of.lookup_or_try_init(&thread, &none);
	if (!sum)
		return 0;
	*sum += bytes;
	if (bytes < 4096)
		return 0;
	seen = allocated.ringbuf_reserve(sizeof(*seen));
	if (!seen)
		return 0;
	seen->bytes = bytes;
	seen->so_far = *sum;
	allocated.ringbuf_submit(seen, 0);
	return 0;
}
