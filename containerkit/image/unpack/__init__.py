"""From the tar of a layer to files."""
