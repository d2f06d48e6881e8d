"""The native eBPF backend for ebpf-bot: CO-RE programs, uprobe_multi, no clang or libbpf at run time."""
