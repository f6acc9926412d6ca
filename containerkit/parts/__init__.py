"""What a plan is made of: namespaces, mounts and the parts that take privileges away."""
