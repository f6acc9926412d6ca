"""What this machine allows (`doctor`), and what a piece of code left behind in the kernel (`leaks`)."""
