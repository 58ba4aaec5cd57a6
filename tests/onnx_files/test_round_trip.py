"""What cnnx has exported comes back."""

import numpy as np
import pytest
from drawing import draw_networks
from exported import predictions, scatter

from cnnx import DropoutLayer, ResidualLayer, SpatialDropoutLayer
from cnnx.models import MODELS
from cnnx.onnx import load

NOTHING_AT_INFERENCE = (DropoutLayer, SpatialDropoutLayer)


def there_and_back(model, path, output=None):
    model.to_onnx(path)
    return load(path, output)


def outline(layers):
    """The names of layers, but of those that are not in an exported file."""
    names = []
    for layer in layers:
        if isinstance(layer, ResidualLayer):
            names.append((outline(layer.layers), outline(layer.shortcut)))
        elif not isinstance(layer, NOTHING_AT_INFERENCE):
            names.append(type(layer).__name__)
    return names


@pytest.mark.parametrize("name", MODELS)
def test_ready_networks_come_back_with_the_same_layers(name, tmp_path, rng):
    model = MODELS[name](10)
    model.build((16, 16, 3), seed=0)
    scatter(model, 0)
    model.class_names, model.pixel_max = [f"class {number}" for number in range(10)], 255
    again = there_and_back(model, tmp_path / "a.onnx")
    assert outline(again.layers) == outline(model.layers)
    assert (again.class_names, again.pixel_max) == (model.class_names, 255)
    X = rng.random((4, 16, 16, 3), dtype=np.float32)
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", [*draw_networks(150)], ids=lambda network: str(network.seed))
def test_drawn_networks_come_back(network, tmp_path):
    model = network.model()
    scatter(model, network.seed)
    X, _ = network.batch(3)
    again = there_and_back(model, tmp_path / "a.onnx")
    expected = predictions(model, X)
    np.testing.assert_allclose(predictions(again, X), expected, rtol=1e-5, atol=1e-5 * max(1, np.abs(expected).max()))
    assert type(again.layers[-1]) is type(model.layers[-1])
