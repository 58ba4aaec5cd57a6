import json
import time

import numpy as np
import pytest
from accidents import flip_each_bit, truncate_everywhere
from safetensors.numpy import load_file, save_file

from cnnx import (
    ConvolutionLayer,
    DenseLayer,
    Flatten,
    Model,
    PoolLayer,
    PReluLayer,
    ReluLayer,
    ResidualLayer,
    SoftmaxLayer,
)
from cnnx.files.models import FORMAT
from cnnx.files.tensors import read_tensors, write_tensors


@pytest.fixture
def model(dtype):
    model = Model(
        ConvolutionLayer(filters=2, filter_size=(3, 2), stride=(1, 2), padding="same"),
        ReluLayer(),
        PoolLayer(filter_size=2, mode="average"),
        Flatten(),
        DenseLayer(units=4, initializer="he_uniform"),
        SoftmaxLayer(),
    )
    model.build((6, 5, 3), seed=0, dtype=dtype)
    return model


@pytest.fixture
def path(tmp_path, model):
    path = tmp_path / "model.safetensors"
    model.save(path)
    return path


def rewrite(path, change=lambda architecture: None, tensors=None, metadata=None):
    """The file with its architecture or tensors changed."""
    saved, values = read_tensors(path)
    architecture = json.loads(saved["cnnx"])
    change(architecture)
    metadata = {"cnnx": json.dumps(architecture)} if metadata is None else metadata
    write_tensors(path, values if tensors is None else tensors, metadata)


def test_a_loaded_model_is_the_saved_one(path, model, rng):
    loaded = Model.load(path)
    assert repr(loaded) == repr(model)
    assert loaded.dtype == model.dtype
    assert loaded.input_shape == (6, 5, 3)
    np.testing.assert_array_equal(loaded.parameters, model.parameters)
    X = rng.random((3, 6, 5, 3))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.train(X, [0, 1, 2], 0.1, verbose=False)


def test_paths_may_be_strings(tmp_path, model):
    model.save(str(tmp_path / "a.safetensors"))
    assert Model.load(str(tmp_path / "a.safetensors")).parameter_count == model.parameter_count


def test_files_from_before_dilation_and_groups_are_read(path, model):
    def forget(architecture):
        for argument in ("dilation", "groups"):
            del architecture["layers"][0][argument]

    rewrite(path, forget)
    assert repr(Model.load(path)) == repr(model)


def test_saving_leaves_only_the_file_itself(path):
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]


def test_a_failed_save_leaves_the_old_file_whole(path, model, monkeypatch):
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        model.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        Model.load(tmp_path / "nothing-here")


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "pickle"])
def test_a_damaged_file_is_named(path, damage):
    content = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "truncated": content[:-7], "text": b"not a model", "pickle": b"\x80\x04cos\nsystem\n."}[damage]
    )
    with pytest.raises(ValueError, match=r"model\.safetensors: not a safetensors file"):
        Model.load(path)


def change_layer(index, **values):
    return lambda architecture: architecture["layers"][index].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_layer(0, layer="os.system"), "layer: expected one of .* got 'os.system'"),
        (change_layer(0, layer="Layer"), "layer: expected one of"),
        (change_layer(0, layer=["ReluLayer"]), "layer: expected one of"),
        (change_layer(0, filters=10**9), "parameter W: expected"),
        (change_layer(0, filters=10**12), "filters: expected at most 2147483647"),
        (change_layer(0, dilation=[2**62, 1]), "dilation: expected at most 2147483647"),
        (change_layer(0, filters=-1), "filters: expected 1 or more"),
        (change_layer(0, filters="2"), "filters: expected an integer"),
        (change_layer(0, code="print()"), "unexpected keyword argument"),
        (change_layer(4, units=10**9), "parameter W: expected"),
        (change_layer(4, units=10**18), "units: expected at most 2147483647"),
        (change_layer(2, mode="worst"), "mode: expected one of"),
        (lambda a: a["layers"].pop(1), "parameter W: expected"),
        (lambda a: a.update(layers=[]), "expected at least one layer"),
        (lambda a: a.update(layers="all"), "list of layers"),
        (lambda a: a.update(layers=[1]), "layer: expected one of"),
        (lambda a: a.update(input_shape=[6, 5, 10**9]), "parameter W: expected"),
        (lambda a: a.update(input_shape=[6, 5]), "expected examples of shape"),
        (lambda a: a.update(input_shape="abc"), "input_shape: expected an integer"),
        (lambda a: a.update(dtype="object"), "dtype: expected float32 or float64"),
        (lambda a: a.update(dtype=7), "dtype: expected float32 or float64"),
        (lambda a: a.update(format=FORMAT + 1), f"format: expected {FORMAT}, got {FORMAT + 1}"),
        (lambda a: a.pop("input_shape"), "missing 'input_shape'"),
        (lambda a: a.pop("dtype"), "missing 'dtype'"),
        (lambda a: a.pop("format"), "format: expected 2, got None"),
        (lambda a: a.update(format=True), "format: expected 2, got True"),
        (lambda a: a.update(format=[2]), "format: expected 2"),
        (lambda a: a.update(more=1), r"expected the entries .*, got \['more'\], too"),
        (lambda a: a.update(dtype="(,)f4"), r"dtype: expected float32 or float64, got '\(,\)f4'"),
        (lambda a: a.update(dtype="(" + "1," * 100_000 + ")f4"), "dtype: expected float32 or float64, got"),
        (lambda a: a.update(dtype="<f4"), "dtype: expected float32 or float64, got '<f4'"),
        (lambda a: a.update(dtype="float16"), "dtype: expected float32 or float64, got 'float16'"),
        (lambda a: a.update(dtype=None), "dtype: expected float32 or float64, got None"),
        (lambda a: a.update(dtype=["float32"]), "dtype: expected float32 or float64, got"),
        (lambda a: a.update(input_shape=None), "input_shape: expected an integer of 1 or more for each axis"),
        (lambda a: a.update(input_shape=[6, 5, 0]), "input_shape: expected an integer of 1 or more for each axis"),
        (lambda a: a.update(input_shape=[6, 5, 3.0]), "input_shape: expected an integer of 1 or more"),
        (lambda a: a.update(input_shape=[6, 5, True]), "input_shape: expected an integer of 1 or more"),
        (lambda a: a.update(input_shape={"6": 5}), "input_shape: expected an integer of 1 or more"),
        (lambda a: a.update(input_shape=[]), "expected examples of shape"),
        (lambda a: a.update(input_shape=[6, 5, 3, 1]), "expected examples of shape"),
        (lambda a: a.update(input_shape=[10**400, 5, 3]), ""),
        (lambda a: a.update(layers=None), "list of layers"),
        (lambda a: a.update(layers=["ReluLayer"]), r"layers\[0\]: layer: expected one of .* got 'ReluLayer'"),
        (lambda a: a.update(layers=[None]), r"layers\[0\]: layer: expected one of .* got None"),
        (lambda a: a.update(layers=[True]), r"layers\[0\]: layer: expected one of"),
        (lambda a: a.update(layers=[{}]), r"layers\[0\]: layer: expected one of .* got None"),
        (lambda a: a.update(layers=[{"layer": 3}]), r"layers\[0\]: layer: expected one of .* got 3"),
        (lambda a: a.update(layers=[{"layer": {}}]), r"layers\[0\]: layer: expected one of"),
        (lambda a: a.update(layers=a["layers"] * 2000), "at most 10000, got 12000"),
        (lambda a: a["layers"].insert(2, "ReluLayer"), r"layers\[2\]: layer: expected one of"),
        (lambda a: a["layers"].append(relu()), "the output layer must be last"),
        (lambda a: a["layers"].append({"layer": "StandardizeLayer"}), ""),
        (change_layer(0, filters=None), "filters: expected an integer"),
        (change_layer(0, filters=1.0), "filters: expected an integer"),
        (change_layer(0, filters=[2]), "filters: expected an integer"),
        (change_layer(0, filters=10**400), ""),
        (change_layer(0, filter_size=[3, 2, 1]), "filter_size: expected"),
        (change_layer(0, filter_size="32"), "filter_size: expected"),
        (change_layer(0, filter_size=[3, 0]), "filter_size"),
        (change_layer(0, filter_size={"3": 2}), "filter_size: expected"),
        (change_layer(0, stride=0), "stride: expected"),
        (change_layer(0, stride=[[1]]), "stride: expected"),
        (change_layer(0, padding="most"), "padding: expected"),
        (change_layer(0, padding=-1), "padding: expected"),
        (change_layer(0, dilation="x"), "dilation: expected"),
        (change_layer(0, groups=2), "groups"),
        (change_layer(0, groups=0), "groups: expected"),
        (change_layer(0, initializer="os.system"), "initializer: expected"),
        (change_layer(0, initializer=["he_uniform"]), "initializer"),
        (change_layer(0, name="x"), "unexpected keyword argument"),
        (change_layer(0, self=1), "self"),
        (change_layer(0, layer="DenseLayer"), "unexpected keyword argument|got multiple values"),
        (change_layer(2, mode=None), "mode: expected one of"),
        (change_layer(2, mode=["max"]), "mode: expected one of"),
        (change_layer(2, filter_size=None), "filter_size: expected"),
        (change_layer(3, units=4), "argument"),
        (change_layer(5, label_smoothing="much"), "label_smoothing: expected a number"),
        (change_layer(5, label_smoothing=2), "label_smoothing: expected a number from 0"),
        (change_layer(5, focal=-1), "focal: expected"),
        (lambda a: a["layers"][0].pop("filters"), "missing 1 required positional argument: 'filters'"),
        (lambda a: a["layers"].reverse(), ""),
    ],
)
def test_an_architecture_that_cannot_be_is_refused(path, change, message):
    rewrite(path, change)
    with pytest.raises(ValueError, match=rf"model\.safetensors: not a usable cnnx model: .*{message}"):
        Model.load(path)


def relu():
    return {"layer": "ReluLayer"}


def block(**values):
    return {"layer": "ResidualLayer", "layers": [relu()], "shortcut": None, **values}


def nested(depth):
    entry = relu()
    for _ in range(depth):
        entry = block(layers=[entry])
    return entry


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (block(layers=[]), "expected at least one layer"),
        (block(layers=5), "layers: expected a list of layers, got 5"),
        (block(layers=None), "layers: expected a list of layers, got None"),
        (block(layers="ReluLayer"), "layers: expected a list of layers"),
        (block(layers=[[relu()]]), "layer: expected one of"),
        (block(layers=[{"layer": "Model"}]), "layer: expected one of .* got 'Model'"),
        (block(layers=[{"layer": "SoftmaxLayer"}]), "is an output layer"),
        (block(shortcut=[]), "expected at least one layer in shortcut"),
        (block(shortcut=relu()), "shortcut: expected a list of layers"),
        (block(code="print()"), "expected layers and shortcut"),
        ({"layer": "ResidualLayer", "layers": [relu()]}, "missing 'shortcut'"),
        (nested(17), "nested up to 16 deep"),
        (nested(300), "nested up to 16 deep|recursion"),
        (block(layers=[{"layer": "DenseLayer", "units": 10**9}]), r"layers\[1\]\.layers\[0\] .*expected examples"),
        (block(layers=[{"layer": "BatchNormLayer"}]), r"layers\[1\]\.layers\[0\] .*parameter gamma: expected"),
    ],
)
def test_blocks_that_cannot_be_are_refused(path, entry, message):
    rewrite(path, lambda architecture: architecture["layers"].__setitem__(1, entry))
    with pytest.raises(ValueError, match=rf"model\.safetensors: not a usable cnnx model: .*({message})"):
        Model.load(path)


def test_tensors_of_layers_inside_a_block_have_its_path(tmp_path, dtype):
    model = Model(ResidualLayer(DenseLayer(3), shortcut=DenseLayer(3)), SoftmaxLayer())
    model.build((3,), seed=0, dtype=dtype)
    path = tmp_path / "model.safetensors"
    model.save(path)
    tensors = load_file(path)
    assert set(tensors) == {"0.0.W", "0.0.b", "0.shortcut.0.W", "0.shortcut.0.b"}
    rewrite(path, tensors={**tensors, "0.1.W": tensors["0.0.W"]})
    with pytest.raises(ValueError, match=r"layers\[0\] \(ResidualLayer\): expected parameters"):
        Model.load(path)


@pytest.mark.parametrize(
    "metadata",
    [
        *({}, {"CNNX": "{}"}, {"cnnx": ""}, {"cnnx": "{"}, {"cnnx": "[" * 99_000}, {"cnnx": '{"a":' * 50_000}),
        *({"cnnx": "7"}, {"cnnx": "null"}, {"cnnx": "[]"}, {"cnnx": "{}"}, {"cnnx": '{"layers": 1, "layers": []}'}),
        *({"cnnx": "{'layers': []}"}, {"cnnx": "1" * 5000}, {"cnnx": '{"layers": [' + "9" * 5000 + "]}"}),
    ],
)
def test_metadata_that_is_no_architecture_is_refused(path, metadata):
    rewrite(path, metadata=metadata)
    with pytest.raises(ValueError, match="not a usable cnnx model"):
        Model.load(path)


def test_tensors_that_do_not_fit_are_refused(path):
    tensors = load_file(path)
    missing = {name: value for name, value in tensors.items() if name != "4.W"}
    stray = {**tensors, "9.W": tensors["4.W"]}
    nameless = {**tensors, "weights": tensors["4.W"]}
    turned = {**tensors, "4.W": np.ascontiguousarray(tensors["4.W"].T)}
    integers = {**tensors, "4.b": tensors["4.b"].astype(np.int32)}
    intact = path.read_bytes()
    dtypes = {**tensors, "4.b": tensors["4.b"].astype(np.float16)}
    names = [
        f"00.{'W'}",
        "04.W",
        "4 .W",
        "+4.W",
        "-1.W",
        "\u0664.W",
        "4",
        "",
        ".W",
        "4..W",
        "4.W.",
        "4.w",
        "x.W",
        "4.0.W",
    ]
    named = [{**missing, name: tensors["4.W"]} for name in names]
    twice = [{**tensors, name: tensors["4.W"]} for name in names]
    for changed in (missing, stray, nameless, turned, integers, dtypes, *named, *twice):
        path.write_bytes(intact)
        rewrite(path, tensors=changed)
        with pytest.raises(ValueError, match=r"not a usable cnnx model: .*(parameter|belongs to none)"):
            Model.load(path)


def test_every_flipped_bit_and_every_truncation_of_a_model_is_refused(tmp_path):
    model, path = Model(DenseLayer(units=2), SoftmaxLayer()), tmp_path / "model"
    model.build((2,), seed=0)
    model.save(path)
    for _ in flip_each_bit(path):
        with pytest.raises(ValueError, match="model: not a"):
            Model.load(path)
    for _ in truncate_everywhere(path):
        with pytest.raises(ValueError, match="model: not a"):
            Model.load(path)


def test_a_file_from_before_there_were_checksums_is_read_and_one_of_today_needs_its_own(path, model):
    metadata, tensors = read_tensors(path)
    content = json.loads(metadata["cnnx"])
    save_file(tensors, path, {"cnnx": json.dumps({**content, "format": 1})})
    np.testing.assert_array_equal(Model.load(path).parameters, model.parameters)
    save_file(tensors, path, {"cnnx": metadata["cnnx"]})
    with pytest.raises(ValueError, match="its metadata has no entry 'checksum', as files of format 2 have"):
        Model.load(path)


@pytest.mark.parametrize("inside", [False, True])
def test_ten_thousand_layers_are_read_within_a_second(tmp_path, inside):
    layers, path = [PReluLayer() for _ in range(2000)], tmp_path / "model"
    model = Model(
        *([ResidualLayer(*layers)] if inside else layers),
        *(ReluLayer() for _ in range(7_990)),
        Flatten(),
        SoftmaxLayer(),
    )
    model.build((2, 2, 1))
    model.save(path)
    began = time.perf_counter()
    Model.load(path)
    assert time.perf_counter() - began < 2  # a slow machine may be busy


def test_build_refuses_what_is_no_dtype():
    model = Model(DenseLayer(units=2), SoftmaxLayer())
    for dtype in (None, "(,)f4", "float16", "object", 7, [("a", "f4")]):
        with pytest.raises(ValueError, match="dtype: expected float32 or float64, got"):
            model.build((2,), dtype=dtype)


class Scaled(DenseLayer):
    """A layer that no file may name."""


class Inner:
    class DenseLayer(DenseLayer):
        """A class of a name that files may have."""


@pytest.mark.parametrize("kind", [Scaled, Inner.DenseLayer])
@pytest.mark.parametrize("block", [False, True])
def test_a_layer_that_could_not_be_loaded_is_not_saved(kind, block, tmp_path):
    layer = ResidualLayer(ReluLayer(), kind(units=3)) if block else kind(units=3)
    model = Model(layer, SoftmaxLayer())
    model.build((3,), seed=0)
    place = r"layers\[0\].layers\[1\]" if block else r"layers\[0\]"
    with pytest.raises(
        ValueError, match=rf"^Model.save: {place} .*LAYERS, got one of the class .*{kind.__qualname__}: a"
    ):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
