"""Ready-made task bodies, as values: what is to be done, opaque to the core."""
