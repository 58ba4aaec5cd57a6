import numpy as np
import pytest

import cnnx
from cnnx import _kernels, models
from cnnx.inspection.verification import VerificationError

pytestmark = pytest.mark.skipif(not _kernels._compiled, reason="without compiled kernels there is nothing to compare")


@pytest.fixture
def digits():
    return cnnx.datasets.load_digits()[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_agrees_on_both_backends(digits, dtype):
    X, y = digits
    model = models.small()
    model.build(X.shape[1:], seed=0, dtype=dtype)
    before, backend = model.parameters.copy(), cnnx.backend_in_use()
    report = model.verify(X[:64], y[:64])
    assert report.passed
    assert report.largest <= report.tolerance == {"float32": 1e-4, "float64": 1e-10}[dtype]
    checked = {(row.layer, row.array) for row in report.rows}
    for layer in model.layers:
        assert (layer.name, "output") in checked
        assert (layer.name, "input gradient") in checked
        assert all((layer.name, f"gradient of {key}") in checked for key in layer.params)
    np.testing.assert_array_equal(model.parameters, before)
    assert (model.gradients == 0).all()
    assert cnnx.backend_in_use() == backend


def test_a_bias_before_batch_normalization_whose_gradient_is_rounding_alone_is_no_difference(rng):
    model = cnnx.Model(
        cnnx.ConvolutionLayer(8, 3),
        cnnx.BatchNormLayer(),
        cnnx.ReluLayer(),
        cnnx.Flatten(),
        cnnx.DenseLayer(3),
        cnnx.SoftmaxLayer(),
    )
    report = model.verify(rng.standard_normal((32, 16, 16, 2)), rng.integers(0, 3, 32))
    assert report.largest < 1e-5


def test_a_wrong_bias_gradient_is_found(digits, monkeypatch):
    X, y = digits
    correct = _kernels._compiled["dense"].dense_weight_gradient

    def wrong(x, grad, W_grad, b_grad):
        correct(x, grad, W_grad, b_grad)
        b_grad *= 1.01

    monkeypatch.setattr(_kernels._compiled["dense"], "dense_weight_gradient", wrong)
    with cnnx.use_backend("numpy"), pytest.raises(VerificationError, match=r"gradient of b +above the tolerance"):
        models.small().verify(X[:32], y[:32])


def test_a_wrong_kernel_is_found_and_named(digits, monkeypatch):
    X, y = digits

    def wrong(x, out):
        np.maximum(x, 0.01, out=out)

    monkeypatch.setattr(_kernels._compiled["activation"], "relu_forward", wrong)
    with cnnx.use_backend("numpy"), pytest.raises(VerificationError) as caught:
        models.small().verify(X[:32], y[:32])
    marked = [line for line in str(caught.value).splitlines() if "above the tolerance" in line]
    assert marked
    assert all("ReluLayer" in line for line in marked)


def test_nan_counts_as_a_difference(digits, monkeypatch):
    X, y = digits
    monkeypatch.setattr(_kernels._compiled["activation"], "relu_forward", lambda x, out: out.fill(np.nan))
    with cnnx.use_backend("numpy"), pytest.raises(VerificationError, match="above the tolerance"):
        models.small().verify(X[:32], y[:32])


def test_the_report_prints_as_a_table(digits):
    X, y = digits
    text = str(models.small().verify(X[:32], y[:32], tolerance=1e-3))
    assert text.splitlines()[0].split() == ["Layer", "Array", "Difference"]
    assert "within the tolerance 1e-03" in text
