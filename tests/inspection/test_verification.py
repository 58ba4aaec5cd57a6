import numpy as np
import pytest

import cnnx
from cnnx import _kernels, models
from cnnx.verification import VerificationError

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


@pytest.mark.parametrize("margin", [2, 6, 10, 14, 16, 40])
@pytest.mark.parametrize("output", [cnnx.SoftmaxLayer, cnnx.SigmoidLayer, lambda: cnnx.SoftmaxLayer(focal=2)])
def test_a_well_trained_model_is_no_difference(margin, output, dtype):
    model = cnnx.Model(cnnx.DenseLayer(units=3), output())
    model.build((3,), seed=0, dtype=dtype)
    model.parameters[:9] = (np.eye(3) * 2 - 1).ravel() * margin * 1.01
    model.parameters[9:] = 0.01
    labels = np.eye(3) if isinstance(model.layers[-1], cnnx.SigmoidLayer) else [0, 1, 2]
    model.verify(np.eye(3), labels)


def test_no_batch_of_a_trained_model_is_a_difference(digits):
    X, y = digits[0][:400], digits[1][:400]
    layers = [cnnx.ConvolutionLayer(8, 3), cnnx.ReluLayer(), cnnx.PoolLayer(2), cnnx.Flatten(), cnnx.DenseLayer(10)]
    model = cnnx.Model(*layers, cnnx.SoftmaxLayer())
    model.train(X, y, 1e-2, batch_size=16, epochs=60, optimizer="adam", seed=0, verbose=False)
    assert model.evaluate(X, y)[0] < 2e-3
    for first in range(0, 400, 8):
        model.verify(X[first : first + 8], y[first : first + 8])


def composed():
    return cnnx.Model(
        cnnx.ConvolutionLayer(4, 3),
        cnnx.ReluLayer(),
        cnnx.PoolLayer(2),
        cnnx.ConvolutionLayer(4, 3, padding=1),
        cnnx.BatchNormLayer(),
        cnnx.ReluLayer(),
        cnnx.PoolLayer(2, mode="average"),
        cnnx.Flatten(),
        cnnx.DenseLayer(8),
        cnnx.ReluLayer(),
        cnnx.DenseLayer(3),
        cnnx.SoftmaxLayer(),
    )


def planted(kernel, called, fault=1e-3):
    """The kernel, whose results are wrong by a thousandth."""

    def wrong(*given):
        arrays = [array for array in given if isinstance(array, np.ndarray)]
        before = [array.copy() for array in arrays]
        kernel(*given)
        called.append(kernel.__name__)
        pairs = list(zip(arrays, before, strict=True))
        changed = [array for array, old in pairs if not np.array_equal(array, old, equal_nan=True)]
        for array in changed or arrays[-1:]:  # fresh memory may hold the results of the last call
            if array.dtype.kind == "f":
                array *= 1 + fault

    return wrong


def used_kernels(X, y):
    """Names of the compiled kernels that a step of training calls."""
    called = []
    with pytest.MonkeyPatch.context() as patch:
        for name, family in _kernels.FAMILIES.items():
            module = _kernels._compiled[family]
            patch.setattr(_kernels, name, planted(getattr(module, name), called, fault=0.0), raising=False)
        composed().train_on_batch(X, y, 0.1)
    return sorted(set(called) - {"sgd_step", "rough_square"})  # an optimizer's, of which `verify` knows nothing


def test_a_fault_of_a_thousandth_in_any_kernel_of_a_step_is_found(rng, monkeypatch):
    X, y = rng.standard_normal((16, 10, 10, 1)), rng.integers(0, 3, 16)
    model = composed()
    model.build((10, 10, 1), seed=0)
    model.verify(X, y)
    kernels = used_kernels(X, y)
    assert len(kernels) > 15
    missed = []
    for name in kernels:
        module = _kernels._compiled[_kernels.FAMILIES[name]]
        called = []
        with monkeypatch.context() as patch:
            patch.setattr(module, name, planted(getattr(module, name), called))
            with cnnx.use_backend("numpy"):  # no kernel's name is bound then
                try:
                    model.verify(X, y)
                    missed.append((name, len(called)))
                except VerificationError:
                    pass
    assert missed == []
