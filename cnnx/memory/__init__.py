"""Working memory: what a layer declares, what it is given, and who allocates it."""
