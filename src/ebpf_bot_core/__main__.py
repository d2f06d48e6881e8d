"""`python -m ebpf_bot_core` is `ebpf-bot`."""

from ebpf_bot_core.cli import main

main()
