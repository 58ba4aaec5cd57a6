"""cnnx against the libraries one would pick instead: ``python -m benchmarks`` from the repository root."""
