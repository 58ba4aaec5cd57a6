import numpy as np
import pytest
from drawing import draw_network, draw_networks

from cnnx.layers import LAYERS, ConvolutionLayer, ResidualLayer, SoftmaxLayer


def layers_inside(layers):
    for layer in layers:
        yield layer
        if isinstance(layer, ResidualLayer):
            yield from layers_inside([*layer.layers, *layer.shortcut])


@pytest.fixture(scope="module")
def networks():
    return list(draw_networks(300))


def test_every_layer_is_drawn(networks):
    drawn = {type(layer).__name__ for network in networks for layer in layers_inside(network.layers)}
    assert drawn == set(LAYERS)


def test_the_same_seed_draws_the_same_network():
    assert repr(draw_network(7).layers) == repr(draw_network(7).layers) != repr(draw_network(8).layers)


def test_every_drawn_network_takes_a_step(networks):
    changed = 0
    for network in networks:
        model = network.model()
        before = model.parameters.copy()
        loss = model.train_on_batch(*network.batch(3), learning_rate=1e-3)
        assert np.isfinite(loss), network
        assert np.isfinite(model.parameters).all(), network
        changed += (model.parameters != before).any()
    # The rest have no parameters, only ReLUs that are all closed, or no example within the margin.
    assert changed >= 0.97 * len(networks)


def test_what_is_computed_together_is_drawn_often(networks):
    followers = [
        (type(layer).__name__, type(following).__name__)
        for network in networks
        for layer, following in zip(network.layers, network.layers[1:], strict=False)
    ]
    for pair in (
        ("ConvolutionLayer", "ReluLayer"),
        ("ConvolutionLayer", "PoolLayer"),
        ("ReluLayer", "PoolLayer"),
        ("DenseLayer", "ReluLayer"),
        ("BatchNormLayer", "ReluLayer"),
        ("BatchNormLayer", "BatchNormLayer"),
        ("ResidualLayer", "ReluLayer"),
        ("DepthwiseConvolutionLayer", "ReluLayer"),
    ):
        assert followers.count(pair) >= 10, pair


def test_plain_networks_end_in_softmax_alone():
    for network in draw_networks(50, plain=True):
        kinds = {type(layer).__name__ for layer in layers_inside(network.layers)}
        assert "TransposedConvolutionLayer" not in kinds
        assert network.layers[-1].config() == SoftmaxLayer().config()
        assert any(isinstance(layer, ConvolutionLayer) for layer in network.layers) or len(kinds) > 1
