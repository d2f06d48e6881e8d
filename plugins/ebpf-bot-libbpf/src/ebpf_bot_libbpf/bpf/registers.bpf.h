/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registers by their part in a call, for x86_64 and arm64 in one object: CO-RE says which of the two layouts of
 * struct pt_regs this kernel has, and the verifier drops the branches of the other.
 *
 * Sources: "System V ABI, AMD64 supplement", 3.2.3 and A.2.1; "Procedure Call Standard for the Arm 64-bit
 * Architecture", 6.8.
 */
struct pt_regs___x86 {
	unsigned long r10, r9, r8, ax, cx, dx, si, di, sp; /* CO-RE finds each by its name */
} __attribute__((preserve_access_index));

struct pt_regs___arm {
	__u64 regs[31];
	__u64 sp;
} __attribute__((preserve_access_index));

#define IS_X86 bpf_core_field_exists(struct pt_regs___x86, di)
#define ARGUMENTS 6

/*
 * A register of the context. The verifier wants each at a constant offset, so the compiler must not make one load of
 * those of both layouts: it takes the empty statements, which differ, for a use of the value.
 */
#define X86(register)                                                 \
	({                                                            \
		__u64 value = ((struct pt_regs___x86 *)ctx)->register; \
		asm volatile("" : "+r"(value));                       \
		value;                                                \
	})
#define ARM(register)                                                 \
	({                                                            \
		__u64 value = ((struct pt_regs___arm *)ctx)->register; \
		asm volatile("" : "+r"(value) : : "memory");          \
		value;                                                \
	})

/* The registers that hold the first six integers or pointers that a function is called with, at its entry. */
static __always_inline void function_arguments(void *ctx, __u64 *values)
{
	if (IS_X86) {
		values[0] = X86(di);
		values[1] = X86(si);
		values[2] = X86(dx);
		values[3] = X86(cx);
		values[4] = X86(r8);
		values[5] = X86(r9);
	} else {
		values[0] = ARM(regs[0]);
		values[1] = ARM(regs[1]);
		values[2] = ARM(regs[2]);
		values[3] = ARM(regs[3]);
		values[4] = ARM(regs[4]);
		values[5] = ARM(regs[5]);
	}
}

static __always_inline __u64 function_result(void *ctx)
{
	return IS_X86 ? X86(ax) : ARM(regs[0]);
}

static __always_inline __u64 stack_pointer(void *ctx)
{
	return IS_X86 ? X86(sp) : ARM(sp);
}

/* Where the stack pointer was at the entry of the function that has just returned: x86 has taken the address. */
static __always_inline __u64 entry_stack_pointer(void *ctx)
{
	return stack_pointer(ctx) - (IS_X86 ? 8 : 0);
}

/* The six arguments of a syscall, of the registers that the kernel saved. */
static __always_inline void syscall_arguments(void *regs, __u64 *values)
{
	if (IS_X86) {
		struct pt_regs___x86 *saved = regs;

		values[0] = BPF_CORE_READ(saved, di);
		values[1] = BPF_CORE_READ(saved, si);
		values[2] = BPF_CORE_READ(saved, dx);
		values[3] = BPF_CORE_READ(saved, r10);
		values[4] = BPF_CORE_READ(saved, r8);
		values[5] = BPF_CORE_READ(saved, r9);
	} else {
		struct pt_regs___arm *saved = regs;

		bpf_core_read(values, ARGUMENTS * sizeof(*values), &saved->regs);
	}
}
