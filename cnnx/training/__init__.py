"""The training run: what it trains on, its loop, its checkpoints, and what it is told of."""
