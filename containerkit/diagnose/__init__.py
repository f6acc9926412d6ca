"""What this machine allows, and what was left behind."""
