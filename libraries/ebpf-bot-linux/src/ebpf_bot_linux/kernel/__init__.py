"""The kernel's interface: system calls, programs, maps."""
