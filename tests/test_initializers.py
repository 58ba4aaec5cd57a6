import numpy as np
import pytest

from cnnx.initializers import INITIALIZERS


@pytest.mark.parametrize(
    ("name", "variance", "bound"),
    [
        ("he_normal", 2 / 50, None),
        ("he_uniform", 2 / 50, np.sqrt(6 / 50)),
        ("glorot_normal", 2 / 250, None),
        ("glorot_uniform", 2 / 250, np.sqrt(6 / 250)),
    ],
)
def test_variance_and_bounds_are_those_of_the_papers(name, variance, bound):
    values = INITIALIZERS[name](np.random.default_rng(0), (500, 400), 50, 200)
    assert values.mean() == pytest.approx(0, abs=0.002)
    assert values.var() == pytest.approx(variance, rel=0.02)
    if bound is None:
        assert np.abs(values).max() > 4 * values.std()
    else:
        assert 0.99 * bound < np.abs(values).max() <= bound
