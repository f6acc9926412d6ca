"""One container's life: what to run and as whom."""
