"""The compiled kernels, a module for each family: the same functions as in `reference`."""
