"""Owning something on disk: temporary directories, locks, staging, and records that outlive a killed owner."""
