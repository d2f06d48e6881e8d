"""Placing programs on code and on events of the kernel, and taking them off again."""
