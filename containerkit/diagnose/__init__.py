"""doctor: the conditions of this machine; leaks: the kernel objects that a piece of code left behind."""
