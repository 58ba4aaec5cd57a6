"""The random networks of the benchmarks: the same for the same seed, always valid, and of the family they claim."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import cnnx
from benchmarks import drawing
from benchmarks.contestants import cnnx_
from benchmarks.networks import (
    ALL_NETWORKS,
    OTHER_NETWORKS,
    BatchNorm,
    Convolution,
    Dense,
    GlobalPool,
    MaxPool,
    describe,
    make_batch,
    make_weights,
    output_shape,
    with_input_shapes,
)

SEEDS, NUMBERS = st.integers(0, 2**32), st.integers(0, 10_000)


@given(SEEDS, NUMBERS)
@settings(max_examples=50, deadline=None)
def test_a_network_depends_on_its_seed_and_number_alone(seed, number):
    np.random.default_rng().random()
    first = drawing.draw(seed, number)
    drawing.draw(seed, number + 1)
    again = drawing.draw(seed, number)
    assert (again.name, *again[2:]) == (first.name, *first[2:])
    for network in (again.network, drawing.find(first.name)):
        assert repr(network) == repr(first.network)  # named tuples of two kinds may be equal


def test_networks_differ_by_seed_and_by_number():
    networks = [describe(drawing.draw(seed, number).network) for seed in range(5) for number in range(20)]
    assert len(set(networks)) == len(networks)


@given(SEEDS, NUMBERS)
@settings(max_examples=50, deadline=None)
def test_every_network_is_valid_and_keeps_to_the_limits(seed, number):
    drawn = drawing.draw(seed, number)
    network = drawn.network
    height, width, channels = network.input_shape
    assert 8 <= height == width <= 128
    assert 1 <= channels <= 16
    convolutions = [layer for layer in network.layers if isinstance(layer, Convolution)]
    assert 1 <= len(convolutions) <= 6
    assert all(4 <= layer.filters <= 128 and 1 <= layer.size <= 7 for layer in convolutions)
    assert {layer.stride for layer in convolutions} <= {1, 2}
    assert sum(isinstance(layer, BatchNorm) for layer in network.layers) in (0, len(convolutions))
    for layer, shape in with_input_shapes(network):
        assert min(output_shape(layer, shape)) >= 1
    assert repr(network.layers[-1]) == "Dense(units=10)"
    assert 8 <= drawn.training_batch <= 256
    assert 1 <= drawn.inference_batch <= 256
    for batch in (drawn.training_batch, drawn.inference_batch):
        assert batch * drawing.product_count(network) <= drawing.MOST_PRODUCTS
        assert batch * drawing.value_count(network) <= drawing.MOST_VALUES


@given(SEEDS, NUMBERS)
@settings(max_examples=25, deadline=None)
def test_every_network_has_the_same_shapes_in_cnnx(seed, number):
    network = drawing.draw(seed, number).network
    model = cnnx_.build(network, make_weights(network))
    for (layer, shape), built in zip(with_input_shapes(network), model.layers[:-1], strict=True):
        assert built.output_shape == output_shape(layer, shape), layer
    weights = sum(layer.params["W"].size for layer in model.layers if "W" in layer.params)
    assert weights == drawing.weight_count(network)


def test_all_kinds_of_layers_and_batches_are_drawn():
    drawn = [drawing.draw(0, number) for number in range(200)]
    layers = [layer for each in drawn for layer in each.network.layers]
    assert {type(layer).__name__ for layer in layers} == {
        *("Convolution", "BatchNorm", "Relu", "MaxPool", "AveragePool", "GlobalPool", "Flatten", "Dense")
    }
    assert {tuple(layer) for layer in layers if isinstance(layer, MaxPool)} == {(2, 2, 0), (3, 2, 0), (3, 2, 1)}
    assert {layer.size for layer in layers if isinstance(layer, Convolution)} == set(range(1, 8))
    assert {each.training_batch for each in drawn} == set(drawing.TRAINING_BATCHES)
    assert {each.inference_batch for each in drawn} == set(drawing.INFERENCE_BATCHES)


def test_windows_and_work_of_a_worked_network():
    network = drawing.Network((9, 9, 2), [Convolution(4, 3, 1, 2), MaxPool(3, 2), GlobalPool(), Dense(10)])
    assert [shape for _, shape in with_input_shapes(network)] == [(9, 9, 2), (5, 5, 4), (2, 2, 4), (4,)]
    assert drawing.product_count(network) == 5 * 5 * 4 * 9 * 2 + 40
    assert drawing.value_count(network) == 162 + 100 + 16 + 4
    assert drawing.weight_count(network) == 9 * 2 * 4 + 40
    assert describe(network) == "9×9×2 c4@3×3/2+1 max3/2 global d10"  # noqa: RUF001


@pytest.mark.parametrize("name", [name for name in OTHER_NETWORKS if name in cnnx.models.MODELS])
def test_a_ready_network_is_that_of_the_models(name):
    network = ALL_NETWORKS[name]
    ready = cnnx.models.MODELS[name](10)
    built = cnnx_.build(network, make_weights(network))
    assert [repr(layer) for layer in built.layers] == [repr(layer) for layer in ready.layers]


def test_a_block_s_weights_arrive_in_its_layers():
    network = ALL_NETWORKS["resnet8"]
    weights = make_weights(network)
    model = cnnx_.build(network, weights)
    ((place, (through, shortcut)),) = [
        (place, own) for place, own in enumerate(weights) if isinstance(own, list) and own[1]
    ][:1]
    block = model.layers[place].sublayers
    np.testing.assert_array_equal(block["0"].params["W"], through[0][0])
    np.testing.assert_array_equal(block["3"].params["W"], through[3][0])
    np.testing.assert_array_equal(block["shortcut.0"].params["W"], shortcut[0][0])


@pytest.mark.parametrize("name", ["resnet8", "mobilenet"])
def test_scores_stay_tame_with_the_weights_of_the_benchmarks(name):
    network = ALL_NETWORKS[name]
    loss = cnnx_.build(network, make_weights(network)).train_on_batch(*make_batch(network, 4), 1e-4)
    assert math.isfinite(loss)
    assert loss < 100
