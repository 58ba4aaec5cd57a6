"""What all kernels stand on: instruction sets, threads, working memory, shapes."""
