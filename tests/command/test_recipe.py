"""What is picked from the data."""

import numpy as np
import pytest

import cnnx
from cnnx.command.data import Dataset
from cnnx.command.recipe import by_custom, picked
from cnnx.models import MODELS


def dataset(examples, shape, validated=True):
    # No memory is taken: what is picked depends on shapes alone.
    X, y = np.broadcast_to(np.uint8(200), (examples, *shape)), np.broadcast_to(0, examples)
    aside = examples // 10 if validated else 0
    return Dataset("photos", {"train": (X, y), "validation": (X[:aside], y[:aside]), "test": (X, y)}, ("a", "b"))


@pytest.mark.parametrize(
    ("examples", "shape", "model", "epochs", "batch_size"),
    [
        (40, (64, 64, 3), "wideresnet8", 20, 8),
        (1_000, (64, 48, 3), "wideresnet8", 20, 16),
        (2_000, (32, 32, 3), "wideresnet8", 20, 32),
        (8_000, (32, 32, 3), "wideresnet8", 18, 64),
        (60_000, (28, 28, 1), "wideresnet8", 8, 64),
        (1_000_000, (64, 64, 3), "wideresnet8", 8, 64),
        (1_000, (8, 8, 1), "small", 20, 16),
    ],
)
def test_more_pixels_take_fewer_epochs_and_more_pictures_larger_batches(examples, shape, model, epochs, batch_size):
    recipe = picked(dataset(examples, shape), None)
    assert recipe[:4] == (model, True, epochs, batch_size)
    assert recipe.patience == max(5, epochs // 2)
    assert picked(dataset(examples, shape, validated=False), None).patience is None


@pytest.mark.parametrize("name", MODELS)
def test_every_network_can_be_chosen_for_pictures(name):
    recipe = picked(dataset(100, (32, 32, 3)), name)
    assert recipe.model == name
    model = recipe.make(7)
    model.build((32, 32, 3), seed=0)
    assert isinstance(model.layers[0], cnnx.StandardizeLayer)
    assert model.output_shape == (7,)
    assert repr(cnnx.models.standardized(model)) == repr(model)
    plain = by_custom("npz", name).make(7)
    assert repr(plain) == repr(MODELS[name](7))


def test_digits_have_a_custom_of_their_own():
    assert by_custom("digits", None)[:4] == ("small", False, 20, 8)
    assert by_custom("idx", None)[:4] == ("small", False, 3, 32)
