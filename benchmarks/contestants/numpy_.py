"""The machine's ceiling: a large float32 matrix product of NumPy's BLAS."""

from collections.abc import Callable

import numpy as np

ROWS, INNER, COLUMNS = 4096, 1024, 4096
FLOP = 2 * ROWS * INNER * COLUMNS
SMALL = 256, 256, 256  # fits the second-level caches


class Contestant:
    def __init__(self, threads: int) -> None:
        """The BLAS reads the number of threads from the environment, which the driver has set."""

    def product(self) -> Callable[[], np.ndarray]:
        return _product(ROWS, INNER, COLUMNS)

    def small_product(self) -> Callable[[], np.ndarray]:
        return _product(*SMALL)


def _product(rows: int, inner: int, columns: int) -> Callable[[], np.ndarray]:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((rows, inner), dtype=np.float32)
    b = rng.standard_normal((inner, columns), dtype=np.float32)
    out = np.empty((rows, columns), np.float32)
    return lambda: np.matmul(a, b, out=out)
