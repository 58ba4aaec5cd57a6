"""Whole models as ONNX files."""

import errno
import json
import os
import sys

import numpy as np
import pytest
from drawing import draw_networks
from exported import assert_agrees, onnx, run, scatter, session

import cnnx
from cnnx import (
    BatchNormLayer,
    ConvolutionLayer,
    DenseLayer,
    DropoutLayer,
    Flatten,
    GlobalPoolLayer,
    HingeLayer,
    LayerNormLayer,
    LeakyReluLayer,
    Model,
    PaddingLayer,
    PoolLayer,
    RegressionLayer,
    ReluLayer,
    ResidualLayer,
    SigmoidLayer,
    SoftmaxLayer,
    StandardizeLayer,
)
from cnnx.export import graph
from cnnx.models import MODELS


@pytest.fixture
def model():
    model = Model(
        ConvolutionLayer(4, 3, padding="same"), BatchNormLayer(), ReluLayer(), Flatten(), DenseLayer(3), SoftmaxLayer()
    )
    model.build((6, 5, 2), seed=0)
    scatter(model, 1)
    return model


@pytest.fixture(name="X")
def examples(rng):
    return rng.standard_normal((4, 6, 5, 2)).astype(np.float32)


def built(*layers, shape=(6, 5, 2), dtype=np.float32):
    model = Model(*layers)
    model.build(shape, seed=0, dtype=dtype)
    return model


def operators(model):
    return [node.op_type for node in run(model, np.zeros((1, *model.input_shape), np.float32))[1].graph.node]


# -- Numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3)], ids=str)
def test_onnx_runtime_computes_what_each_ready_network_does(name, shape, rng):
    model = MODELS[name](10)
    model.build(shape, seed=0)
    X = rng.random((8, *shape), dtype=np.float32)
    model.train_on_batch(X, np.arange(8), 0.01)
    assert_agrees(model, X)


@pytest.mark.parametrize("network", [*draw_networks(100)], ids=lambda network: str(network.seed))
def test_onnx_runtime_computes_what_drawn_networks_do(network):
    model = network.model()
    scatter(model, network.seed)
    X, _ = network.batch(3)
    exported = assert_agrees(model, X)
    attributes = {attribute.name for node in exported.graph.node for attribute in node.attribute}
    assert "auto_pad" not in attributes


def test_a_trained_model_predicts_the_same_digits(tmp_path):
    (X, y), (X_test, _) = cnnx.datasets.load_digits()
    model = cnnx.models.small()
    model.train(X, y, 0.1, batch_size=16, seed=0, verbose=False)
    signature = model.to_onnx(tmp_path / "digits.onnx")
    (probabilities,) = session(tmp_path / "digits.onnx").run(None, {signature.input: X_test})
    np.testing.assert_allclose(probabilities, model.predict_proba(X_test), atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), model.predict(X_test))


def test_a_folded_model_gives_a_file_without_batch_normalization(model, X):
    folded = model.folded()
    assert_agrees(folded, X)
    assert "BatchNormalization" in operators(model)
    assert "BatchNormalization" not in operators(folded)


def test_a_model_in_double_precision_gives_a_file_in_single(X):
    model = built(ConvolutionLayer(4, 3), Flatten(), DenseLayer(3), SoftmaxLayer(), dtype=np.float64)
    y, _ = run(model, X)
    np.testing.assert_allclose(y, model.predict_proba(X), atol=1e-6)


def test_any_number_of_examples_can_be_computed(model, X):
    for batch in (X[:0], X[:1], X, np.concatenate([X] * 5)):
        np.testing.assert_allclose(run(model, batch)[0], model.predict_proba(batch), atol=1e-5)


def test_the_weights_are_those_of_the_model(model):
    _, exported = run(model, np.zeros((1, 6, 5, 2), np.float32))
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in exported.graph.initializer}
    convolution, normalization, _, _, dense, _ = model.layers
    expected = {
        "layers_0_W": convolution.params["W"].transpose(3, 2, 0, 1),
        "layers_0_b": convolution.params["b"],
        **{f"layers_1_{key}": value for key, value in {**normalization.params, **normalization.state}.items()},
        "layers_4_W": dense.params["W"],
        "layers_4_b": dense.params["b"],
    }
    assert constants.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(constants[name], value, err_msg=name)


# -- Outputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [1, 3])
def test_probabilities_are_those_of_predict_proba_and_logits_what_goes_into_the_output_layer(units, X):
    layers = [Flatten(), DenseLayer(units)]
    for output in (SigmoidLayer(), SoftmaxLayer()):
        model = built(*layers, output)
        given = {None: model.predict_proba(X), "probabilities": model.predict_proba(X)}
        given["logits"] = layers[1].forward(layers[0].forward(X))
        for wanted, expected in given.items():
            y, exported = run(model, X, wanted)
            np.testing.assert_allclose(y, expected, atol=1e-5)
            assert exported.graph.output[0].name == wanted or wanted is None
        layers = [Flatten(), DenseLayer(units)]


@pytest.mark.parametrize(("output", "name"), [(HingeLayer(), "scores"), (RegressionLayer(), "values")], ids=repr)
def test_what_is_no_probability_is_not_called_one(output, name, X, tmp_path):
    model = built(Flatten(), DenseLayer(3), type(output)())
    for wanted in (None, "logits"):
        y, exported = run(model, X, wanted)
        assert exported.graph.output[0].name == name
        np.testing.assert_allclose(y, model.forward(X), atol=1e-5)
    with pytest.raises(TypeError, match=r"expected 'logits' or None, for layers\[2\] .* has no probabilities"):
        model.to_onnx(tmp_path / "x.onnx", "probabilities")


def test_a_model_of_images_without_an_output_layer_gives_them_in_our_order_of_axes(X, tmp_path):
    model = built(ConvolutionLayer(4, 3), ReluLayer())
    assert_agrees(model, X)
    assert model.to_onnx(tmp_path / "x.onnx").output == "output"
    with pytest.raises(ValueError, match=r"expected None, for layers\[1\] \(ReluLayer\) is no output layer"):
        model.to_onnx(tmp_path / "x.onnx", "logits")


def test_a_model_that_hands_on_its_input_does_so_as_a_file(X):
    assert operators(built(DropoutLayer(0.5))) == ["Identity"]
    assert_agrees(built(DropoutLayer(0.5)), X)
    assert_agrees(built(ResidualLayer(DropoutLayer(0.5))), X)


def test_another_output_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"output: expected one of \('probabilities', 'logits'\) or None, got 'x'"):
        model.to_onnx(tmp_path / "x.onnx", "x")


# -- The graph ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "count"),
    [
        ([ConvolutionLayer(4, 3), ReluLayer(), PoolLayer(2), Flatten(), DenseLayer(3), SoftmaxLayer()], 2),
        ([StandardizeLayer(mean=0, deviation=2), ConvolutionLayer(4, 3), GlobalPoolLayer(), SoftmaxLayer()], 1),
        ([ResidualLayer(ConvolutionLayer(2, 1), ReluLayer()), GlobalPoolLayer(), SoftmaxLayer()], 1),
        ([ResidualLayer(ReluLayer(), shortcut=ConvolutionLayer(2, 1)), GlobalPoolLayer(), SoftmaxLayer()], 1),
        ([LeakyReluLayer(), Flatten(), DenseLayer(3), SoftmaxLayer()], 0),
    ],
    ids=lambda value: type(value[0]).__name__ if isinstance(value, list) else None,
)
def test_images_are_turned_round_once_on_the_way_in_and_once_before_a_dense_layer(layers, count):
    assert operators(built(*layers)).count("Transpose") == count


def test_a_zero_of_padding_is_one_that_onnx_runtime_does_not_take_for_padding_of_pooling(X):
    # 1.17 to 1.24 move a Pad with 0.0, but not with -0.0, into the MaxPool behind it, where padding never wins.
    model = built(PaddingLayer(1), PoolLayer(2))
    y, exported = run(model, -np.abs(X))
    pad, zero = exported.graph.node[1], exported.graph.initializer[1]
    assert pad.op_type == "Pad"
    assert pad.input[2] == zero.name
    assert any(zero.raw_data)
    assert (y == 0).any()


def test_a_normalization_of_a_single_channel_is_none_that_onnx_runtime_refuses():
    # 1.21 to 1.23 want 2 values or more.
    assert "LayerNormalization" not in operators(built(LayerNormLayer(), shape=(1,)))
    assert operators(built(LayerNormLayer(), shape=(2,))) == ["LayerNormalization"]


def test_a_network_of_a_table_is_not_turned_round():
    model = built(StandardizeLayer(mean=0, deviation=2), DenseLayer(3), SoftmaxLayer(), shape=(5,))
    assert operators(model) == ["Sub", "Div", "Gemm", "Softmax"]


def test_the_file_has_the_versions_that_deployed_runtimes_read(model, tmp_path):
    signature = model.to_onnx(tmp_path / "x.onnx")
    exported = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(exported, full_check=True)
    assert [(each.domain, each.version) for each in exported.opset_import] == [("", 17)]
    assert exported.ir_version == 8
    assert (exported.producer_name, exported.producer_version) == ("cnnx", cnnx.__version__)
    ways = [
        (each.name, [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim])
        for each in (*exported.graph.input, *exported.graph.output)
    ]
    assert ways == [("input", ["batch", 6, 5, 2]), ("probabilities", ["batch", 3])]
    assert signature == ("input", (6, 5, 2), "probabilities", (3,))
    assert str(signature) == "takes input: float32 (batch, 6, 5, 2)\ngives probabilities: float32 (batch, 3)"


def test_what_the_model_says_of_its_data_is_in_the_metadata(model, tmp_path):
    model.to_onnx(tmp_path / "x.onnx")
    assert not onnx.load(tmp_path / "x.onnx").metadata_props
    model.class_names, model.pixel_max = ["Katze", "Käfer", "\udcff,"], 255
    model.to_onnx(tmp_path / "x.onnx")
    metadata = session(tmp_path / "x.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(model.class_names)
    assert json.loads(metadata["pixel_max"]) == 255


# -- What cannot be exported -------------------------------------------------------------------------------------


class Own(ReluLayer):
    def apply(self, x, out):
        out[...] = -x


def test_a_layer_of_ones_own_is_refused_by_name_wherever_it_is(tmp_path):
    for layers in ([Own()], [ResidualLayer(ResidualLayer(Own()))], [Flatten(), DenseLayer(2), Own()]):
        model = built(*layers)
        with pytest.raises(ValueError, match=r"layers.*\(Own\): expected layers .*, got .*test_model.Own"):
            model.to_onnx(tmp_path / "x.onnx")
    assert not any(tmp_path.iterdir())


def test_a_model_that_is_not_built_or_has_not_learned_its_data_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r"Model.to_onnx: the model is not built"):
        Model(DenseLayer(2)).to_onnx(tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=r"layers\[0\] \(StandardizeLayer\): the mean and deviation are not known"):
        built(StandardizeLayer(), Flatten(), DenseLayer(2)).to_onnx(tmp_path / "x.onnx")


def test_numbers_that_single_precision_cannot_hold_are_refused(tmp_path):
    model = built(Flatten(), DenseLayer(2), dtype=np.float64)
    model.layers[1].params["b"][0] = -1e39
    with pytest.raises(ValueError, match=r"layers\[1\] \(DenseLayer\): b: expected numbers within float32"):
        model.to_onnx(tmp_path / "x.onnx")
    model = built(LeakyReluLayer(slope=1e39), dtype=np.float64)
    with pytest.raises(ValueError, match=r"layers\[0\] \(LeakyReluLayer\): alpha: expected numbers within float32"):
        model.to_onnx(tmp_path / "x.onnx")
    model = built(StandardizeLayer(deviation=1e-50, mean=0), dtype=np.float64)
    with pytest.raises(ValueError, match=r"layers\[0\] \(StandardizeLayer\): deviation: expected .* float32"):
        model.to_onnx(tmp_path / "x.onnx")


def test_a_model_that_no_file_can_hold_is_refused_before_it_is_copied(model, tmp_path, monkeypatch):
    size = 4 * (model.parameter_count + 8)
    monkeypatch.setattr(graph, "MOST_BYTES", size)
    model.to_onnx(tmp_path / "x.onnx")
    monkeypatch.setattr(graph, "MOST_BYTES", size - 1)
    with pytest.raises(ValueError, match=r"layers\[4\] \(DenseLayer\): b: .*an ONNX file can hold 2 GiB"):
        model.to_onnx(tmp_path / "x.onnx")


def test_a_file_is_whole_or_as_it_was_before(model, tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"before")

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        model.to_onnx(path)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["x.onnx"]


def test_without_onnx_the_message_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"needs onnx: python -m pip install 'cnnx\[onnx\]'"):
        model.to_onnx(tmp_path / "x.onnx")
