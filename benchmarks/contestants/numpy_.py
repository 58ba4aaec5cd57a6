"""The machine's ceiling: a large float32 matrix product of NumPy's BLAS."""

from collections.abc import Callable

import numpy as np

ROWS, INNER, COLUMNS = 4096, 1024, 4096
FLOP = 2 * ROWS * INNER * COLUMNS


class Contestant:
    def __init__(self, threads: int) -> None:
        """The BLAS reads the number of threads from the environment, which the driver has set."""

    def product(self) -> Callable[[], np.ndarray]:
        rng = np.random.default_rng(0)
        a = rng.standard_normal((ROWS, INNER), dtype=np.float32)
        b = rng.standard_normal((INNER, COLUMNS), dtype=np.float32)
        out = np.empty((ROWS, COLUMNS), np.float32)
        return lambda: np.matmul(a, b, out=out)
