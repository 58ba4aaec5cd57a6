import numpy as np
import pytest

from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DivergenceError,
    DropoutLayer,
    Flatten,
    Model,
    PoolLayer,
    ReluLayer,
    ResidualLayer,
    SoftmaxLayer,
    _kernels,
)
from cnnx.layers.base import leaves

pytestmark = pytest.mark.usefixtures("backend")


def convolution(filters, stride=1, size=3):
    return ConvolutionLayer(filters, size, stride=stride, padding="same")


def small_resnet():
    """A block of each kind: identity, shortcut, nested, with dropout."""
    return Model(
        convolution(4),
        BatchNormLayer(),
        ReluLayer(),
        ResidualLayer(convolution(4), BatchNormLayer(), ReluLayer(), convolution(4), BatchNormLayer()),
        ReluLayer(),
        ResidualLayer(
            convolution(6, stride=2),
            ReluLayer(),
            ResidualLayer(convolution(6), DropoutLayer(0.2), ReluLayer()),
            shortcut=[convolution(6, stride=2, size=1), BatchNormLayer()],
        ),
        ReluLayer(),
        Flatten(),
        DenseLayer(3),
        SoftmaxLayer(),
    )


@pytest.fixture
def data(rng):
    return rng.standard_normal((12, 6, 6, 2)).astype(np.float32), rng.integers(0, 3, 12)


def test_the_output_is_the_sum_of_both_ways():
    block = ResidualLayer(DenseLayer(2), shortcut=DenseLayer(2))
    block.build((2,))
    block.params["0.W"][...] = [[1, 2], [3, 4]]
    block.params["shortcut.0.W"][...] = [[10, 0], [0, 10]]
    block.params["shortcut.0.b"][...] = [0.5, 0]
    np.testing.assert_array_equal(block.forward([[1, 1]]), [[14.5, 16]])
    identity = ResidualLayer(ReluLayer())
    identity.build((3,))
    np.testing.assert_array_equal(identity.forward([[-1, 2, 0]], training=True), [[-1, 4, 0]])
    np.testing.assert_array_equal(identity.backward([[5, 5, 5]]), [[5, 10, 5]])


def test_different_shapes_of_the_ways_are_an_error_with_both():
    block = ResidualLayer(convolution(6))
    model = Model(convolution(4), block, Flatten(), SoftmaxLayer())
    message = (
        r"layers\[1\] \(ResidualLayer\): expected equal shapes to add, got \(5, 4, 6\) through the layers and "
        r"\(5, 4, 4\) past them; a shortcut, such as a convolution with 1x1 filters, can make them equal"
    )
    with pytest.raises(ValueError, match=message):
        model.build((5, 4, 2))
    with pytest.raises(ValueError, match=r"got \(5,\) through the layers and \(4,\) past them$"):
        ResidualLayer(DenseLayer(5), shortcut=DenseLayer(4)).build((5,))


def test_a_layer_stands_in_one_place_only():
    relu = ReluLayer()
    ResidualLayer(relu)
    for owner in (Model, ResidualLayer):
        with pytest.raises(ValueError, match=r"layers\[0\] \(ReluLayer\) at position 0 already stands in"):
            owner(relu)
    relu = ReluLayer()
    for arguments in ({"shortcut": relu}, {"shortcut": [relu]}):
        with pytest.raises(ValueError, match="ReluLayer at position 1 already stands in a model or a block"):
            ResidualLayer(relu, **arguments)
    block = ResidualLayer(relu)
    Model(block, SoftmaxLayer())
    with pytest.raises(ValueError, match=r"layers\[0\] \(ResidualLayer\) at position 0 already stands in"):
        ResidualLayer(block)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ResidualLayer(), ValueError, "expected at least one layer, got none"),
        (lambda: ResidualLayer(ReluLayer(), shortcut=[]), ValueError, "at least one layer in shortcut, got none"),
        (lambda: ResidualLayer("relu"), TypeError, "expected layers, got 'relu' at position 0"),
        (lambda: ResidualLayer([ReluLayer()]), TypeError, "expected layers, got .* at position 0"),
        (lambda: ResidualLayer(ReluLayer(), shortcut="identity"), TypeError, "shortcut: expected a layer or a list"),
        (lambda: ResidualLayer(ReluLayer(), SoftmaxLayer()), ValueError, "SoftmaxLayer is an output layer"),
    ],
)
def test_what_is_no_block_is_refused(make, error, message):
    with pytest.raises(error, match=f"^ResidualLayer: .*{message}"):
        make()


def test_blocks_nest_sixteen_deep_and_no_deeper():
    block = ReluLayer()
    for _ in range(16):
        block = ResidualLayer(block)
    block.build((3,))
    np.testing.assert_array_equal(block.forward([[1, 0, -1]]), [[17, 0, -16]])
    with pytest.raises(ValueError, match="nested up to 16 deep, got 17"):
        ResidualLayer(block)


def test_errors_inside_name_the_place():
    inner = BatchNormLayer()
    block = ResidualLayer(DenseLayer(2), ResidualLayer(inner))
    assert inner.name == "ResidualLayer.layers[1].layers[0] (BatchNormLayer)"
    model = Model(Flatten(), block, ResidualLayer(ReluLayer(), shortcut=[DropoutLayer(0.1)]), SoftmaxLayer())
    assert model.layers[2].shortcut[0].name == "layers[2].shortcut[0] (DropoutLayer)"
    model.build((2, 1, 1))
    message = r"layers\[1\]\.layers\[1\]\.layers\[0\] \(BatchNormLayer\): expected more than one value for each channel"
    with pytest.raises(ValueError, match=message):
        model.train_on_batch(np.ones((1, 2, 1, 1)), [0], 0.1)
    with pytest.raises(ValueError, match=r"layers\[0\]\.layers\[0\] \(DenseLayer\): expected examples of shape"):
        Model(ResidualLayer(DenseLayer(3)), Flatten(), SoftmaxLayer()).build((3, 3, 1))


def test_parameters_inside_live_in_the_models_one_vector():
    model = small_resnet()
    model.build((6, 6, 2), seed=0)
    by_key = [value for layer in model.layers for value in layer.params.values()]
    by_leaf = [value for layer in leaves(model.layers) for value in layer.params.values()]
    assert sum(value.size for value in by_key) == model.parameter_count
    np.testing.assert_array_equal(model.parameters, np.concatenate([value.ravel() for value in by_key]))
    for value, same in zip(by_key, by_leaf, strict=True):
        assert np.shares_memory(value, model.parameters)
        assert np.shares_memory(value, same)
    model.gradients[...] = 7
    assert all((value == 7).all() for value in model.layers[5].grads.values())
    assert "2.0.W" in model.layers[5].params
    assert set(model.layers[5].state) == {"shortcut.1.mean", "shortcut.1.variance"}


def test_weights_inside_start_as_what_follows_them_asks():
    model = Model(
        DenseLayer(200),
        ResidualLayer(ReluLayer(), DenseLayer(200), DenseLayer(200), shortcut=DenseLayer(200)),
        ReluLayer(),
        ResidualLayer(DenseLayer(200)),
        SoftmaxLayer(),
    )
    model.build((100,), seed=0)
    he, glorot = "he_normal", "glorot_uniform"
    block, last = model.layers[1], model.layers[3]
    assert model.layers[0].default_initializer == he
    assert [layer.default_initializer for layer in (*block.layers[1:], *block.shortcut)] == [glorot, he, he]
    assert last.layers[0].default_initializer == glorot
    assert block.params["2.W"].std() == pytest.approx(np.sqrt(2 / 200), rel=0.02)
    alone = ResidualLayer(DenseLayer(200), ReluLayer(), DenseLayer(200))
    alone.build((200,), seed=0)
    assert [layer.default_initializer for layer in alone.layers] == [he, glorot, glorot]


def test_a_diverging_step_leaves_the_averages_inside_as_they_were(data):
    X, y = data
    model = small_resnet()
    model.build((6, 6, 2), seed=0)
    model.train_on_batch(X, y, 0.01)
    states = [{key: value.copy() for key, value in layer.state.items()} for layer in model.layers]
    model.layers[8].params["W"][...] = np.nan
    with pytest.raises(DivergenceError):
        model.train_on_batch(X, y, 0.01)
    for layer, state in zip(model.layers, states, strict=True):
        for key, value in state.items():
            np.testing.assert_array_equal(layer.state[key], value)


def test_rehearsal_of_a_block_leaves_no_trace(rng):
    block = ResidualLayer(DropoutLayer(0.5), BatchNormLayer())
    block.build((20,), seed=0)
    x = rng.standard_normal((4, 20))
    with block.rehearsal():
        first = block.forward(x, training=True)
    np.testing.assert_array_equal(block.state["1.mean"], np.zeros(20))
    np.testing.assert_array_equal(block.forward(x, training=True), first)


def test_a_network_with_blocks_learns_and_is_saved_with_all_that_is_inside(tmp_path, data):
    X, y = data
    model = small_resnet()
    history = model.train(X, y, 0.05, batch_size=6, epochs=15, seed=0, verbose=False)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.layers[5].layers[2].layers[0].name == "layers[5].layers[2].layers[0] (ConvolutionLayer)"


def test_the_table_counts_what_is_inside(capsys, data):
    X, y = data
    model = small_resnet()
    model.build((6, 6, 2), seed=0)
    model.train_on_batch(X, y, 0.1)
    model.summary(batch_size=12)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("layers[3]"))
    assert f"{2 * (9 * 4 * 4 + 4) + 2 * 8:,}" in line

    assert model.plan.nbytes(12) == sum(block.memory.nbytes for block in model.plan.blocks)


def test_a_step_allocates_no_new_arrays_and_forgets_what_it_kept(data):
    X, y = data
    model = small_resnet()
    model.build((6, 6, 2), seed=0)
    model.train_on_batch(X, y, 0.1)
    inner = model.plan.passes[2]
    before = inner.working["output"].view
    model.train_on_batch(X, y, 0.1)
    assert inner.name.startswith("layers[3].layers[0]")
    assert inner.working["output"].view is before
    assert all(pass_._cache is None for pass_ in model.plan.passes)


def test_a_block_at_the_bottom_leaves_out_the_gradient_for_the_data(data):
    X, y = data
    model = Model(
        ResidualLayer(DropoutLayer(0.0), convolution(2), ReluLayer(), convolution(2), shortcut=convolution(2)),
        ResidualLayer(convolution(2)),
        Flatten(),
        DenseLayer(3),
        SoftmaxLayer(),
    )
    model.build((6, 6, 2), seed=0)
    wants = {pass_.name.partition(" ")[0]: pass_.wants_gradient for pass_ in model.plan.passes}
    assert [wants[f"layers[0].layers[{index}]"] for index in (0, 1, 3)] == [False, False, True]
    assert wants["layers[0].shortcut[0]"] is wants["layers[0]"] is False
    assert wants["layers[1].layers[0]"] is True
    model.forward(X, training=True)
    model.backward(y)
    gradients = model.gradients.copy()
    x = X
    for layer in model.layers[:-1]:
        x = layer.forward(x, training=True)
    output = model.layers[-1]
    targets = output.targets(y)
    output.loss(x, targets, training=True)
    gradient = output.loss_backward(targets)
    for layer in reversed(model.layers[:-1]):
        gradient = layer.backward(gradient)
    assert gradient.shape == X.shape
    np.testing.assert_array_equal(model.gradients, gradients)


def test_verify_compares_the_layers_inside_and_the_sums(data):
    if not _kernels._compiled:
        pytest.skip("without compiled kernels there is nothing to compare")
    model = small_resnet()
    report = model.verify(*data)
    rows = {(row.layer, row.array) for row in report.rows}
    assert report.passed
    assert ("layers[5].layers[2].layers[0] (ConvolutionLayer)", "gradient of W") in rows
    assert ("layers[5].shortcut[1] (BatchNormLayer)", "variance") in rows
    assert ("layers[3] (ResidualLayer)", "input gradient") in rows


def test_pooling_and_flattening_may_stand_inside(data):
    X, y = data
    block = ResidualLayer(convolution(3), ReluLayer(), PoolLayer(2), Flatten(), shortcut=[Flatten(), DenseLayer(27)])
    model = Model(block, DenseLayer(3), SoftmaxLayer())
    history = model.train(X, y, 0.05, epochs=2, seed=0, verbose=False)
    assert np.isfinite(history["loss"]).all()
    assert model.plan.passes[0].name.endswith("layers[0] (ConvolutionLayer)")
