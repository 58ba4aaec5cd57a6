import numpy as np
import pytest

from cnnx import ConvolutionLayer, DenseLayer
from cnnx.layers.initializers import INITIALIZERS


@pytest.mark.parametrize(
    ("name", "variance", "bound"),
    [
        ("he_normal", 2 / 50, None),
        ("he_uniform", 2 / 50, np.sqrt(6 / 50)),
        ("glorot_normal", 2 / 250, None),
        ("glorot_uniform", 2 / 250, np.sqrt(6 / 250)),
        ("lecun_normal", 1 / 50, None),
        ("lecun_uniform", 1 / 50, np.sqrt(3 / 50)),
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


@pytest.mark.parametrize("shape", [(3, 3, 4, 20), (3, 3, 4, 36), (3, 3, 2, 20), (5, 5), (1, 7)])
def test_orthogonal_weights_have_orthonormal_columns_or_rows(shape, rng):
    matrix = INITIALIZERS["orthogonal"](rng, shape, 0, 0).reshape(-1, shape[-1])
    rows, columns = matrix.shape
    products = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(products, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_matrices_lean_to_no_side(rng):
    matrices = np.array([INITIALIZERS["orthogonal"](rng, (3, 3), 3, 3) for _ in range(2000)])
    # Each element has mean 0 and variance 1 / 3, and both signs of the determinant are as likely.
    assert np.abs(matrices.mean(axis=0)).max() < 0.06
    assert np.abs((matrices**2).mean(axis=0) - 1 / 3).max() < 0.03
    assert abs(np.linalg.det(matrices).mean()) < 0.1


@pytest.mark.parametrize(("choice", "value"), [(0.01, 0.01), (0, 0), (np.float32(-2), -2), ("zeros", 0)])
def test_a_number_is_a_constant_and_zeros_is_zero(choice, value):
    for layer, shape in (
        (DenseLayer(4, initializer=choice), (3,)),
        (ConvolutionLayer(2, 3, initializer=choice), (5, 5, 2)),
    ):
        layer.build(shape, dtype=np.float64)
        np.testing.assert_array_equal(layer.params["W"], np.full_like(layer.params["W"], value))
        twin = type(layer)(**layer.config())
        assert twin.config() == layer.config()


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ("he", ValueError),
        ("", ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        (True, TypeError),
        ([1], TypeError),
    ],
)
def test_an_unknown_initializer_lists_the_valid_ones(choice, error):
    with pytest.raises(error, match=r"DenseLayer: initializer: expected one of \('he_normal', .*, 'zeros'\), a finite"):
        DenseLayer(4, initializer=choice)
