"""What containerkit costs: against a C program that makes the same calls, against other programs, against itself.

python -m benchmarks [--quick] [--out DIR] [NAME...]

machine  ground  measure  floor            what it runs on, where, how time is taken, and the C program
steps  kinds  spawning  identity  peers    one benchmark a module
memory  threads  bindings  overlays
table  plot                                what comes out
"""
