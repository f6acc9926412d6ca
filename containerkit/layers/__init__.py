"""Directories laid over each other, and what changed in the topmost."""
