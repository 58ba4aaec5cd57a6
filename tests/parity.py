"""Compiled kernels against their NumPy twins: what the tests of every family share."""

import numpy as np
import pytest
from hypothesis import strategies as st

from cnnx._kernels import KERNELS, _compiled, available_instruction_sets, twins

on_every_instruction_set = pytest.mark.parametrize("instruction_set", available_instruction_sets())
TOLERANCE = {"f": 2e-5, "d": 1e-12}
dtypes = st.sampled_from([np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)


def copied(argument):
    """Arrays, and those in a tuple, as copies."""
    if isinstance(argument, tuple):
        return tuple(copied(part) for part in argument)
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def assert_twins_agree(name, arguments, outputs, exact=False, in_place=False, whole=False):
    """Call both twins; `outputs` are arrays like those they fill, whose content they must not rely on.

    With `in_place` they change the outputs, and are given copies of them. With `whole` the compiled one's results are
    rounded to whole numbers, and must then be exact.
    """
    module = next(module for module, functions in KERNELS.items() if name in functions)
    results = []
    for function in (getattr(_compiled[module], name), getattr(twins(module), name)):
        garbage = [np.full_like(array, np.nan if array.dtype.kind == "f" else 77) for array in outputs]
        filled = [array.copy() for array in outputs] if in_place else garbage
        given = [copied(a) for a in arguments]
        function(*given, *filled)
        for before, after in zip(arguments, given, strict=True):
            if isinstance(before, np.ndarray | tuple):
                np.testing.assert_array_equal(before, after, err_msg=f"{name} changed its input")
        results.append(filled)
    for compiled, expected in zip(*results, strict=True):
        if whole:
            np.testing.assert_array_equal(np.rint(compiled), expected, err_msg=name)
        elif exact or expected.dtype.kind != "f":
            np.testing.assert_array_equal(compiled, expected, err_msg=name)
        else:
            tolerance = TOLERANCE[expected.dtype.char]
            np.testing.assert_allclose(compiled, expected, rtol=tolerance, atol=tolerance, err_msg=name)
