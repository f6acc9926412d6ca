"""Benchmarks of containerkit: against a C program that makes the same calls, against other programs, against itself.

python -m benchmarks [--quick] [--out DIR] [NAME...]

machine  ground  measure  floor            the machine, the directory, the timing, and the C program
steps  kinds  spawning  identity  peers    one benchmark a module
memory  threads  bindings  overlays
table  plot                                the results
"""
