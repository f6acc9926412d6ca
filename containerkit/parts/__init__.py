"""The parts of a plan: namespaces, mounts and the parts that take privileges away."""
