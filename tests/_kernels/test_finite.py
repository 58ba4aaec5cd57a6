"""Whether all numbers are finite: the compiled kernel and its twin."""

import numpy as np
import pytest

import cnnx
from cnnx import _kernels


@pytest.mark.usefixtures("backend", "restored_kernels")
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 16384, 40000])
def test_a_number_that_is_not_finite_is_seen_wherever_it_is(dtype, size, wrong, rng):
    cnnx.set_num_threads(2)
    x = rng.standard_normal(size).astype(dtype)
    assert _kernels.all_finite(x)
    for place in {0, size // 3, size - 1} if size else ():
        x[place] = wrong
        assert not _kernels.all_finite(x)
        x[place] = np.finfo(dtype).max
        assert _kernels.all_finite(x)


def test_other_types_are_refused():
    if _kernels._compiled:
        with pytest.raises(ValueError, match="expected arrays of one type, float32 or float64, got int64"):
            _kernels._compiled["finite"].all_finite(np.zeros(3, np.int64))
