"""ebpf-bot and its peers on the same workloads, in turn, in one run; see `__main__.py` for the way through."""
