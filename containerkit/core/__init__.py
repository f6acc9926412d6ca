"""From parts to a process: steps, plans, compiled programs, spawning and traces."""
