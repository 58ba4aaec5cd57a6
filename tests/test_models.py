import numpy as np
import pytest

from cnnx.models import MODELS


@pytest.mark.parametrize(
    ("name", "input_shape", "parameters"),
    [
        ("small", (8, 8, 1), 13_706),
        ("lenet", (28, 28, 1), 61_706),
        ("deck", (32, 32, 3), 77_994),
        ("mnistnet", (28, 28, 1), 34_826),
        ("vggbn", (32, 32, 3), 551_466),
    ],
)
def test_each_network_has_its_published_size_and_trains(name, input_shape, parameters, rng):
    model = MODELS[name](10)
    model.build(input_shape, seed=0)
    assert model.parameter_count == parameters
    X, y = rng.random((8, *input_shape)), np.arange(8)
    losses = [model.train_on_batch(X, y, 0.05) for _ in range(30)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_number_of_classes_can_be_chosen(name):
    model = MODELS[name](3)
    model.build((28, 28, 1), seed=0)
    assert model.output_shape == (3,)
