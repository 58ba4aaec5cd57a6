"""What `Model.train` trains on: arrays, augmented arrays, and sources of batches."""

import numpy as np
import pytest

from cnnx import DenseLayer, Flatten, Model, RegressionLayer

# Weights after two epochs with seed 0. All sums of these runs are of small integers and sixteenths, and so exact: they
# depend on the starting weights and on the order of the examples alone, on no machine.
RECORDED = {
    "shuffled": """-0x1.3e27a60000000p-1 -0x1.3480b00000000p-2 0x1.6698e00000000p-4 -0x1.54b3c00000000p-2
        0x1.d1fc3c0000000p-2 0x1.474f080000000p-1 -0x1.0000000000000p-4""",
    "in order": """-0x1.789e980000000p-3 -0x1.3a40580000000p-1 0x1.334c700000000p-3 -0x1.2a59e00000000p-1
        0x1.c8fe1e0000000p-1 -0x1.7161f00000000p-2 0x0.0p+0""",
    "weighted": """0x1.8a1d860000000p+3 -0x1.0d20300000000p+0 0x1.cd32000000000p-5 0x1.80b4c40000000p+2
        -0x1.adc0780000000p+1 0x1.6074f00000000p+3 -0x1.e000000000000p-2""",
}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("shuffled", {"validation_split": 0.1}),
        ("in order", {"validation_split": 0.1, "shuffle": False}),
        ("weighted", {"sample_weight": np.arange(22)}),
    ],
)
def test_the_order_of_the_examples_and_every_bit_are_those_recorded(name, options, rng):
    X, y = rng.integers(-8, 8, (22, 3, 2, 1)), rng.integers(-20, 20, 22).astype(float)
    model = Model(Flatten(), DenseLayer(units=1), RegressionLayer("absolute"))
    model.train(X, y, 0.125, batch_size=4, epochs=2, seed=0, verbose=False, **options)
    assert [value.hex() for value in model.parameters.tolist()] == RECORDED[name].split()
