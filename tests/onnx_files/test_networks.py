"""Networks that other libraries have exported: they compute the same, and can be trained on."""

from pathlib import Path

import numpy as np
import pytest

import cnnx
from cnnx.onnx import load

pytest.importorskip("onnx")

FOLDER = Path(__file__).parent / "networks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
EXPECTED = np.load(FOLDER / "expected.npz")
# What those end in that end in values which are not scores of two classes or more.
OUTPUTS = {"sklearn_values": "regression"}
# Networks whose own outputs are scores, and one with their logarithms.
LOGARITHMS = {"torch_log_softmax"}


def examples(name, model):
    """The library's examples as cnnx has them, and its predictions."""
    x, y = EXPECTED[f"{name}.x"], EXPECTED[f"{name}.y"]
    if x.shape[1:] != model.input_shape:
        x = x.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(x), y


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def computed(model, x):
    return model.predict(x) if isinstance(model.layers[-1], cnnx.RegressionLayer) else model.predict_proba(x)


def test_there_are_twenty():
    assert len(NAMES) >= 20
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000


@pytest.mark.parametrize("name", NAMES)
def test_a_network_computes_what_its_library_computes(name, backend):
    model = load(FOLDER / f"{name}.onnx", OUTPUTS.get(name))
    x, y = examples(name, model)
    if name in LOGARITHMS:
        y = np.exp(y)
    elif isinstance(model.layers[-1], cnnx.SoftmaxLayer) and not np.allclose(y.sum(axis=1), 1, atol=1e-4):
        y = softmax(y)
    got = computed(model, x)
    if y.shape[1:] == (1,) and got.shape[1:] == (2,):
        got = got[:, 1:]
    assert got.shape == y.shape
    np.testing.assert_allclose(got, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_can_be_trained_on_saved_and_folded(name, tmp_path):
    model = load(FOLDER / f"{name}.onnx", OUTPUTS.get(name))
    x, _ = examples(name, model)
    model.save(tmp_path / "model")
    again = cnnx.Model.load(tmp_path / "model")
    assert (computed(again, x) == computed(model, x)).all()
    np.testing.assert_allclose(computed(again.folded(), x), computed(model, x), rtol=1e-4, atol=1e-5)
    output = model.layers[-1]
    count = model.output_shape[0]
    if isinstance(output, cnnx.RegressionLayer) or count == 1:
        labels = np.linspace(0, 1, len(x) * count).reshape(len(x), count)
    elif isinstance(output, cnnx.SigmoidLayer):
        labels = np.arange(len(x) * count).reshape(len(x), count) % 2
    else:
        labels = np.arange(len(x)) % count
    before = model.evaluate(x, labels)[0]
    history = model.train(x, labels, 0.01, epochs=3, seed=0, verbose=False)
    assert len(history["loss"]) == 3
    assert model.evaluate(x, labels)[0] < before
