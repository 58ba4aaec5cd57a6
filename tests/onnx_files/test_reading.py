"""ONNX files that strangers have made: one kind of error, nothing but the file opened, and bounded memory and time."""

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from onnx_graphs import TensorProto, helper, make, node, numpy_helper, saved

import cnnx
from cnnx.command.main import main
from cnnx.onnx import load, reading, wire

W = np.ones((3, 2), np.float32)


@pytest.fixture
def model():
    return make([node("MatMul", "x", "W", to="y")], [3], {"W": W})


def refused(folder, content, *parts):
    """The error of a file, which names it."""
    path = folder / "graph.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(ValueError, match=r"graph\.onnx: not a network that cnnx can read") as error:
        load(path)
    for part in parts:
        assert part in str(error.value), error.value


# -- Bytes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"onnx", b"\xff" * 40, b"\x3a", b"\x3a\xff", b"\x0b", b"PK\x03\x04" + b"\0" * 60]
)
def test_other_bytes_are_no_model(tmp_path, content):
    refused(tmp_path, content)


def test_a_file_that_is_cut_off_is_refused_wherever_that_is(tmp_path, model):
    content = model.SerializeToString()
    for length in range(len(content)):
        try:
            refused(tmp_path, content[:length])
        except pytest.fail.Exception:
            # What is gone is the version of the format, which nothing depends on.
            assert length > content.rindex(b"W")
            assert load(tmp_path / "graph.onnx").layers[0].units == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_folders_and_missing_files_are_no_models(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a pipe"):
        load(tmp_path / "pipe")
    with pytest.raises(OSError, match="directory"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


def test_a_file_above_the_limit_is_not_read(tmp_path, monkeypatch, model):
    monkeypatch.setattr(reading, "MOST_BYTES", 100)
    refused(tmp_path, model, "at most 100 bytes")


def test_more_fields_than_a_network_has_are_refused_before_there_are_objects(tmp_path):
    # Half a million empty nodes, which protobuf would make fifty times as many bytes of.
    graph = b"\x0a\x00" * 500_000
    length = len(graph)
    content = b"\x3a" + bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14]) + graph
    began = time.process_time()
    refused(tmp_path, content, f"at most {wire.MOST_FIELDS} fields")
    assert time.process_time() - began < 3
    tracemalloc.start()
    refused(tmp_path, content, f"at most {wire.MOST_FIELDS} fields")
    assert tracemalloc.get_traced_memory()[1] < 3 * len(content)
    tracemalloc.stop()


def test_a_graph_of_too_many_nodes_is_refused(tmp_path):
    nodes = [node("Relu", "x" if number == 0 else f"v{number - 1}", to=f"v{number}") for number in range(5001)]
    refused(tmp_path, make(nodes, [3], outputs=["v5000"]), "at most 5000")


# -- What cnnx does not read -----------------------------------------------------------------------------


def test_data_in_another_file_are_refused_and_the_file_is_not_opened(tmp_path, model):
    (tmp_path / "data").write_bytes(W.tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    refused(tmp_path, model, "data in another file")
    for key, value in (("location", "data"), ("location", "/etc/passwd"), ("__class__", "x"), ("basepath", "..")):
        tensor.external_data.add(key=key, value=value)
    refused(tmp_path, model, "data in another file")
    tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = W.tobytes()
    refused(tmp_path, model, "data in another file")


def test_data_of_a_constant_in_another_file_are_refused(tmp_path, model):
    tensor = numpy_helper.from_array(W, "w")
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))
    refused(tmp_path, model, "data in another file")


def strange(change):
    def changed(model):
        change(model)
        return model

    return changed


STRANGERS = {
    "functions": lambda model: model.functions.add(name="f", domain="d"),
    "information for training": lambda model: model.training_info.add(),
    "sparse tensors": lambda model: model.graph.sparse_initializer.add(),
    "a subgraph": lambda model: model.graph.node[0].attribute.add(name="g", type=5).g.node.add(op_type="Relu"),
    "subgraphs": lambda model: model.graph.node[0].attribute.add(name="g", type=10).graphs.add(),
    "a sparse tensor": lambda model: model.graph.node[0].attribute.add(name="s").sparse_tensor.dims.append(2**40),
    "refers to a function": lambda model: model.graph.node[0].attribute.add(name="a", ref_attr_name="b"),
    "segments": lambda model: setattr(model.graph.initializer[0].segment, "begin", 1),
    "the domain 'com.example'": lambda model: setattr(model.graph.node[0], "domain", "com.example"),
    "attribute 'axis': not known": lambda model: model.graph.node[0].attribute.add(name="axis", type=2, i=1),
    "two attributes": lambda model: [model.graph.node[0].attribute.add(name="axis", type=2) for _ in range(2)],
    "no layer for this operator": lambda model: setattr(model.graph.node[0], "op_type", "Sin"),
    "opset": lambda model: setattr(model.opset_import[0], "version", 99),
    "two of its tensors": lambda model: model.graph.initializer.append(model.graph.initializer[0]),
    "a name stands for two values": lambda model: model.graph.node.add(op_type="Relu", input=["x"], output=["y"]),
    "no node before this one": lambda model: setattr(model.graph.node[0], "input", None) or model,
    "expected one input": lambda model: model.graph.input.add(name="z"),
    "expected one output": lambda model: model.graph.output.append(model.graph.input[0]),
    "expected at most 67108864 values": lambda model: resize(model, 2**40),
    "expected the size of each axis": lambda model: resize(model, None),
    "expected a batch of examples": lambda model: model.graph.input[0].type.tensor_type.ClearField("shape"),
    "a graph of at least one node": lambda model: model.graph.ClearField("node"),
}


def resize(model, size):
    axis = model.graph.input[0].type.tensor_type.shape.dim[1]
    if size is None:
        axis.dim_param = "m"
    else:
        axis.dim_value = size


@pytest.mark.parametrize("said", STRANGERS)
def test_what_is_no_network_is_refused_by_name(tmp_path, model, said):
    if said == "no node before this one":
        model.graph.node[0].input[0] = "later"
        model.graph.node.add(op_type="Relu", input=["x"], output=["later"])
    else:
        STRANGERS[said](model)
    refused(tmp_path, model, said)


def test_an_error_names_file_node_and_reason(tmp_path):
    nodes = [node("Flatten", "x", to="f"), helper.make_node("Gemm", ["f", "W"], ["y"], name="fc1", transA=1)]
    path = saved(tmp_path / "graph.onnx", make(nodes, [3], {"W": W}))
    with pytest.raises(
        ValueError, match=r"graph\.onnx: not a network .*: node 'fc1' \(Gemm\): transA: expected 0, got 1"
    ):
        load(path)


# -- Sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dims", [2**62, 2**62]),
        ("dims", [-3, -2]),
        ("dims", [3, 3]),
        ("dims", [0, 2]),
        ("dims", [1] * 9),
        ("dims", []),
        ("data_type", TensorProto.FLOAT16),
        ("data_type", TensorProto.STRING),
        ("data_type", 4242),
        ("data_type", TensorProto.DOUBLE),
        ("raw_data", b""),
        ("float_data", [1.0] * 6),
        ("string_data", [b"x"]),
    ],
)
def test_a_tensor_has_the_data_that_its_shape_says(tmp_path, model, field, value):
    tensor = model.graph.initializer[0]
    if isinstance(value, list):
        del getattr(tensor, field)[:]
        getattr(tensor, field).extend(value)
    else:
        setattr(tensor, field, value)
    if field == "string_data":  # which no tensor of numbers looks at
        load(saved(tmp_path / "graph.onnx", model))
    else:
        refused(tmp_path, model, "node 'the y' (MatMul)")


def test_numbers_may_be_stored_one_by_one(tmp_path, model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend(range(6))
    network = load(saved(tmp_path / "graph.onnx", model))
    np.testing.assert_array_equal(network.layers[0].params["W"], np.arange(6).reshape(3, 2))


def huge(*nodes, shape, constants=()):
    return make(list(nodes), shape, constants)


GREEDY = {
    "doubled again and again": lambda: huge(
        *(node("Concat", f"c{n}", f"c{n}", to=f"c{n + 1}", axis=0) for n in range(200)),
        node("Reshape", "x", "c200", to="y"), shape=[3], constants={"c0": np.array([1])}),
    "spread over all others": lambda: huge(
        node("Add", "a", "b", to="c"), node("MatMul", "x", "c", to="y"), shape=[3],
        constants={"a": np.ones((5000, 1), np.float32), "b": np.ones((1, 5000), np.float32)}),
    "of any size": lambda: huge(
        node("ConstantOfShape", "s", to="c"), node("MatMul", "x", "c", to="y"), shape=[3],
        constants={"s": np.array([2**40, 2])}),
    "in each of many layers": lambda: huge(
        *(node("MatMul", "x" if n == 0 else f"v{n - 1}", "W", to=f"v{n}") for n in range(2000)),
        node("Identity", "v1999", to="y"), shape=[200], constants={"W": np.ones((200, 200), np.float32)}),
    "for each channel of many": lambda: huge(
        *(node("InstanceNormalization", "x" if n == 0 else f"v{n - 1}", "k", "k", to=f"v{n}") for n in range(100)),
        node("Identity", "v99", to="y"), shape=[1, 2**22], constants={"k": np.ones(1, np.float32)}),
    "standardized one by one": lambda: huge(
        node("Sub", "x", "k", to="y"), shape=[2**24], constants={"k": np.float32(1)}),
    "as large as can be": lambda: huge(
        *(node("Resize", "x" if n == 0 else f"v{n - 1}", "", "s", to=f"v{n}") for n in range(9)),
        node("GlobalMaxPool", "v8", to="p"), node("Flatten", "p", to="y"), shape=[3, 8, 8],
        constants={"s": np.array([1, 1, 2**20, 2**20], np.float32)}),
    "cast again and again": lambda: huge(
        *(node("Cast", f"c{n}", to=f"c{n + 1}", ) for n in range(400)),
        node("MatMul", "x", "c400", to="y"), shape=[300], constants={"c0": np.ones((300, 300), np.float32)}),
}  # fmt: skip


@pytest.mark.parametrize("name", GREEDY)
def test_a_small_file_cannot_ask_for_much_memory(tmp_path, name):
    model = GREEDY[name]()
    for each in model.graph.node:
        if each.op_type == "Cast":
            each.attribute.add(name="to", type=2, i=TensorProto.DOUBLE)
    content = model.SerializeToString()
    tracemalloc.start()
    refused(tmp_path, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * len(content) + 30_000_000


def test_additions_without_end_are_refused_in_time(tmp_path):
    nodes = [node("Relu", "x", to="v0")]
    nodes += [node("Add", f"v{number}", "x", to=f"v{number + 1}") for number in range(900)]
    began = time.process_time()
    refused(tmp_path, make(nodes, [3], outputs=["v900"]), "nested up to 16 deep")
    many = [*nodes, *(node("Add", f"v{number}", "x", to=f"v{number + 1}") for number in range(900, 1200))]
    refused(tmp_path, make(many, [3], outputs=["v1200"]), "at most 1000 additions")
    assert time.process_time() - began < 5


def test_long_rows_of_layers_are_read_in_time(tmp_path):
    kinds = ("Relu", "Tanh", "Sigmoid", "Softplus")
    nodes = [node(kinds[n % 4], "x" if n == 0 else f"v{n - 1}", to=f"v{n}") for n in range(2000)]
    began = time.process_time()
    model = load(saved(tmp_path / "graph.onnx", make(nodes, [3], outputs=["v1999"])), "regression")
    assert time.process_time() - began < 5
    assert len(model.layers) == 2001


# -- The rest of the door --------------------------------------------------------------------------------


def test_names_of_classes_and_the_value_of_white_are_checked(tmp_path, model):
    model.producer_name = "cnnx"
    for key, value, said in (
        ("class_names", '["a", "a"]', "different names"),
        ("class_names", '["a"]', "expected 2 names"),
        ("class_names", "[", "metadata 'class_names'"),
        ("pixel_max", '"white"', "metadata 'pixel_max'"),
        ("pixel_max", "-1", "metadata 'pixel_max'"),
    ):
        del model.metadata_props[:]
        model.metadata_props.add(key=key, value=value)
        refused(tmp_path, model, said)
    del model.metadata_props[:]
    model.metadata_props.add(key="class_names", value='["cat", "dog"]')
    model.metadata_props.add(key="something", value="else")
    assert load(saved(tmp_path / "graph.onnx", model)).class_names == ("cat", "dog")
    model.producer_name = "another"  # which may mean something else
    assert load(saved(tmp_path / "graph.onnx", model)).class_names is None


def test_classes_of_scikit_learn_keep_their_names():
    model = load(Path(__file__).parent / "networks" / "sklearn_classes.onnx")
    assert model.class_names == ("cat", "dog", "owl")


def test_double_precision_stays(tmp_path):
    model = make([node("MatMul", "x", "W", to="y")], [3], {"W": W.astype(np.float64)})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert load(saved(tmp_path / "graph.onnx", model)).dtype == np.float64


def test_onnx_is_needed_only_to_read(tmp_path, model, monkeypatch):
    path = saved(tmp_path / "graph.onnx", model)
    code = "import sys; import cnnx, cnnx.command.main; print('onnx' in sys.modules, 'cnnx.onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "cnnx\[onnx\]"'):
        load(path)


def test_the_command_saves_a_model(tmp_path, model, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "graph.onnx", model)
    assert main(["import", "graph.onnx", "model"]) == 0
    shown = capsys.readouterr().out
    assert "DenseLayer" in shown
    assert shown.endswith("saved to model\n")
    assert type(cnnx.Model.load("model").layers[-1]) is cnnx.SoftmaxLayer
    assert main(["import", "graph.onnx", "model", "--output-layer", "hinge"]) == 0
    assert type(cnnx.Model.load("model").layers[-1]) is cnnx.HingeLayer
    (tmp_path / "graph.onnx").write_bytes(b"no")
    assert main(["import", "graph.onnx", "other"]) == 2
    assert "graph.onnx: not a network" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
