"""The run folder: written by `record`, found by `find`, read side by side by `compare`."""
