"""Whether a machine can run what is asked of it, told before an hour is spent.  Nothing here downloads, or needs a network."""
