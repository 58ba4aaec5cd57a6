"""Steps of optimizers: compiled kernels against their NumPy twins, on ranges that cut tasks anywhere."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from parity import TOLERANCE, assert_twins_agree, dtypes, seeds

import cnnx
from cnnx._kernels import _compiled, twins

pytestmark = [
    pytest.mark.skipif(not _compiled, reason="a build without compiled kernels has nothing to compare"),
    pytest.mark.usefixtures("restored_kernels"),
]
sizes = st.sampled_from([0, 1, 17, 16384, 40001])
# In order: how many arrays like the parameters (they change in place; two are one argument), whether there are ranges,
# and the scalars.
STEPS = {
    "sgd_step": (0, False, (0.1,)),
    "momentum_step": (1, True, (0.1, 0.9, False, 0.3)),
    "adagrad_step": (1, True, (0.1, (0.9, 0.1), 1e-3, 0.3)),
    "adam_step": (2, True, ((0.9, 0.99), (0.1, 0.05), (1.3, 1e-3), (0.3, 0.2))),
    "lion_step": (1, True, (0.1, (0.9, 0.99), 0.3)),
}


def take_step(functions, name, params, grads, others, ranges):
    _, ranged, scalars = STEPS[name]
    remembered = [tuple(others)] if len(others) == 2 else others
    getattr(functions, name)(params, grads, *remembered, *([ranges] if ranged else []), *scalars)


few_examples = settings(max_examples=15)


def make_ranges(rng, size):
    """Up to four ranges, in order, with gaps between them."""
    ends = np.sort(rng.choice(size + 1, min(size + 1, 2 * rng.integers(0, 5)), replace=False)).astype(np.intp)
    return ends[: len(ends) // 2 * 2].reshape(-1, 2)


@pytest.mark.parametrize("name", STEPS)
@few_examples
@given(size=sizes, dtype=dtypes, seed=seeds, threads=st.integers(1, 4))
def test_a_step_agrees_with_its_twin(name, size, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    params, grads = rng.standard_normal((2, size)).astype(dtype)
    others = [np.abs(rng.standard_normal(size)).astype(dtype) for _ in range(STEPS[name][0])]
    ranges = make_ranges(rng, size)
    results = []
    for functions in (_compiled["optimizer"], twins("optimizer")):
        changed = [params.copy(), *(other.copy() for other in others)]
        take_step(functions, name, changed[0], grads, changed[1:], ranges)
        results.append(changed)
    tolerance = TOLERANCE[np.dtype(dtype).char]
    for compiled, expected in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, expected, rtol=tolerance, atol=tolerance)


def test_nesterov_and_each_range_by_hand():
    params, grads, velocity = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.5, 0.5]), np.zeros(3)
    for functions in (_compiled["optimizer"], twins("optimizer")):
        p, v = params.copy(), velocity.copy()
        functions.momentum_step(p, grads, v, np.array([[1, 2]], np.intp), 0.1, 0.5, True, 0.25)
        np.testing.assert_allclose(v, [0.5, 1.0, 0.5], rtol=1e-15)
        # 1 - 0.1 (0.5 + 0.5 * 0.5), 2 - 0.1 (1 + 0.5 * 1), 3 - 0.1 (0.5 + 0.5 * 0.5)
        np.testing.assert_allclose(p, [0.925, 1.85, 2.925], rtol=1e-15)


@few_examples
@given(size=sizes, dtype=dtypes, seed=seeds, threads=st.integers(1, 4))
def test_averages_sums_and_penalties_agree_with_their_twins(size, dtype, seed, threads):
    cnnx.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    params, grads = rng.standard_normal((2, size)).astype(dtype)
    params[::5] = 0
    assert_twins_agree("sum_of_squares", [params], [np.empty(1)])
    results = []
    for functions in (_compiled["optimizer"], twins("optimizer")):
        average, gradient, sums = grads.copy(), grads.copy(), np.empty(2)
        functions.moving_average(average, params, 0.99)
        functions.penalty(params, gradient, make_ranges(np.random.default_rng(seed), size), 0.3, 0.2, sums)
        results.append((average, gradient, sums))
    tolerance = TOLERANCE[np.dtype(dtype).char]
    for compiled, expected in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", [*STEPS, "sum_of_squares", "penalty", "moving_average"])
def test_the_number_of_threads_changes_no_bit(name, rng):
    results = []
    arrays = rng.standard_normal((4, 50000)).astype(np.float32)
    ranges = np.array([[5, 16390], [20000, 49999]], np.intp)
    for threads in (1, 2, 3, 4):
        cnnx.set_num_threads(threads)
        changed, sums = np.abs(arrays), np.zeros(2)
        kernel = getattr(_compiled["optimizer"], name)
        if name == "sum_of_squares":
            kernel(changed[0], sums[:1])
        elif name == "moving_average":
            kernel(changed[0], changed[1], 0.9)
        elif name == "penalty":
            kernel(changed[0], changed[1], ranges, 0.1, 0.2, sums)
        else:
            take_step(_compiled["optimizer"], name, *changed[:2], changed[2 : 2 + STEPS[name][0]], ranges)
        results.append((changed, sums))
    for changed, sums in results[1:]:
        np.testing.assert_array_equal(changed, results[0][0])
        np.testing.assert_array_equal(sums, results[0][1])


@pytest.mark.parametrize("ranges", [[[2, 1]], [[0, 5]], [[-1, 2]], [[1, 3], [2, 4]]])
def test_ranges_outside_the_vector_or_out_of_order_are_refused(ranges):
    x = np.zeros(4)
    with pytest.raises(ValueError, match=r"^lion_step: sizes do not fit: range"):
        _compiled["optimizer"].lion_step(x, x, x, np.array(ranges, np.intp), 0.1, (0.9, 0.99), 0.1)


def test_nan_stays_nan_in_every_step():
    for name, (count, _, _) in STEPS.items():
        params, grads = np.ones(3), np.array([1.0, np.nan, 1.0])
        others = [np.ones(3) for _ in range(count)]
        take_step(_compiled["optimizer"], name, params, grads, others, np.empty((0, 2), np.intp))
        np.testing.assert_array_equal(np.isnan(params), [False, True, False], err_msg=name)


PAIRS = {"adam_step": (2, 4, 5, 6, 7), "adagrad_step": (5,), "lion_step": (5,)}


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, places in PAIRS.items() for place in places])
def test_a_pair_that_is_none_is_refused(name, place):
    count, _, scalars = STEPS[name]
    others = [np.ones(3) for _ in range(count)]
    given = [np.ones(3), np.ones(3), *([tuple(others)] if count == 2 else others), np.empty((0, 2), np.intp), *scalars]
    for wrong in ((1.0,), (1.0, 2.0, 3.0), 1.0, None, ("a", "b"), (None, None)):
        arguments = [*given[:place], wrong, *given[place + 1 :]]
        with pytest.raises((TypeError, ValueError)):
            getattr(_compiled["optimizer"], name)(*arguments)
