"""Which probes there are on this host, and where each is placed."""
