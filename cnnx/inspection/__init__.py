"""Looking at a model: its table, and its kernels beside their NumPy twins."""
