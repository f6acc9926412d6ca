"""The tar format, read and written."""
