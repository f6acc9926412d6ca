"""Asking the kernel: system calls as values, what this kernel has, and the ids of the caller."""
