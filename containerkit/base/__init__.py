"""What every room may use: checked arguments, frozen values, optional packages, the log."""
