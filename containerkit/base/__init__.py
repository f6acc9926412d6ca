"""Helpers for every room: checked arguments, frozen values, optional packages, the log."""
