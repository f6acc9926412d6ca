"""Images shared by many processes."""
